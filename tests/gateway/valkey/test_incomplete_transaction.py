"""A server that is killed while it writes a transaction leaves the begin of it in its append-only
file. One from before valkey-io/valkey#4342 (Redis 7, Valkey 8.0) mixes it with what came later when
it starts a second time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.gateway.conftest import StartValkey
from tests.gateway.valkey.helpers import SERVING, claim, end_of, make_store, submit
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import wait_until

FEED = f"{{{SERVING}}}:ev"
OF_NOBODY = "0" * 44


def command(*words: str) -> bytes:
    parts = "".join(f"${len(one)}\r\n{one}\r\n" for one in words)
    return f"*{len(words)}\r\n{parts}".encode()


def begin_transaction(server: ValkeyServer, events: int) -> bytes:
    """Write the begin of one, that adds to the feed, to the file of a server that is killed."""
    fields = ("i", OF_NOBODY, "s", "C", "n", "1")
    begin = b"".join(
        (
            command("MULTI"),
            command("XADD", FEED, "MAXLEN", "=", str(events + 1), "9999999999999-0", *fields),
            command("HSET", f"{FEED}-unknown", "a", "b")[:-6],
        )
    )
    with file_of(server).open("ab") as file:
        file.write(begin)
    return begin


def file_of(server: ValkeyServer) -> Path:
    (file,) = server._folder.glob("appendonlydir/*.incr.aof")
    return file


async def deliver_one(server: ValkeyServer) -> str:
    store = make_store(server)
    await store.open()
    id = await submit(store)
    [claimed] = await claim(store)
    assert await store.finish(end_of(claimed))
    await store.close()
    return id


async def check_tasks(server: ValkeyServer, ids: list[str]) -> None:
    store = make_store(server)
    await store.open()
    assert sorted(one.id for one in await store.page(None, "", 100)) == sorted(ids)
    events = await store.read_feed("0", 100, 0)
    assert [one.id for one in events] == [id for id in ids for _ in range(3)]
    assert (await store.counts()).completed == len(ids)
    await store.close()


async def test_it_is_cut_off_before_the_server_starts(start_valkey: StartValkey) -> None:
    server = start_valkey()
    ids = [await deliver_one(server)]
    server.kill()
    size = file_of(server).stat().st_size
    begin_transaction(server, 3)
    server.start()
    assert file_of(server).stat().st_size == size
    ids.append(await deliver_one(server))
    await asyncio.to_thread(server.restart)
    await check_tasks(server, ids)


async def test_what_has_an_end_is_never_cut_off(start_valkey: StartValkey) -> None:
    """A file that a server has already written on: what follows was answered."""
    server = start_valkey()
    ids = [await deliver_one(server)]
    server.kill()
    begin = begin_transaction(server, 3)
    file = file_of(server)
    with file.open("ab") as added:
        added.truncate(file.stat().st_size - len(begin) + begin.index(b"*4\r\n$4\r\nHSET"))
        added.write(command("MULTI") + command("SET", "a", "b") + command("EXEC"))
    size = file.stat().st_size
    server.repair()
    assert file.stat().st_size == size
    assert ids


async def test_the_gateway_has_the_file_rewritten_after_a_start(start_valkey: StartValkey) -> None:
    """Where nothing repairs it."""
    server = start_valkey(repairs=False)
    ids = [await deliver_one(server)]
    server.kill()
    begin_transaction(server, 3)
    server.start()
    store = make_store(server)
    await store.open()
    assert await store.check() == ""
    await wait_until(
        lambda: all(
            one in server.ask("INFO", "persistence")
            for one in ("aof_rewrites:1", "aof_rewrite_in_progress:0", "aof_rewrite_scheduled:0")
        )
    )
    assert await store.check() == ""
    assert "aof_rewrites:1" in server.ask("INFO", "persistence")  # not once more
    await store.close()
    ids.append(await deliver_one(server))
    await asyncio.to_thread(server.restart)
    await check_tasks(server, ids)
