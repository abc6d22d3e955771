"""A server that refuses, is full, is not the right one, or does not answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import (
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    SubmitOutcome,
)
from servedeck.gateway.stores.valkey import connection
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.gateway.conftest import StartValkey
from tests.gateway.valkey.helpers import SERVING, claim, end_of, make_store, new_task, submit
from tests.gateway.valkey.proxies import address_of, answering
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout

PASSWORD = "correct-horse"


def make_fake(port: int, **settings: Any) -> ValkeyStore:
    return ValkeyStore(SERVING, f"valkey://127.0.0.1:{port}", timeout=WAIT_SECONDS, **settings)


async def test_full_memory_refuses_tasks_and_lets_those_that_run_end(
    start_valkey: StartValkey,
) -> None:
    server = start_valkey("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    store = make_store(server)
    await store.open()
    assert await store.check() == ""
    accepted: list[str] = []
    with pytest.raises(StoreFullError) as caught:
        for _ in range(1000):
            accepted.append(await submit(store, body=b"x" * 65536))
    assert caught.value.retry_after > 0
    assert str(caught.value) == f"The memory of Valkey at 127.0.0.1:{server.port} is full."
    # nothing of the refused one, and all of the others
    assert (await store.counts()).pending == len(accepted)
    first, second, third, fourth = await claim(store, 4)
    assert await store.beat([(first.id, first.attempt)], 60) == []
    assert await store.finish(end_of(first))
    assert await store.retry(second.id, second.attempt, 60, end_of(second).record)
    assert (await store.cancel(third.id, 0)).changed
    assert await store.append_output(fourth.id, fourth.attempt, b"part")
    found = await store.find(first.id)
    assert found is not None
    assert found.task.state is TaskState.COMPLETED
    # room is made by what expires, and then the next is taken
    for claimed in await claim(store, len(accepted)):
        assert await store.finish(end_of(claimed, keep=0))
    while (await store.sweep(60)).is_full:
        pass
    await with_timeout(_submit_until_accepted(store))
    await store.close()


async def test_a_gateway_starts_on_full_memory_and_ends_what_was_accepted(
    start_valkey: StartValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade, whose functions are others than those that are loaded."""
    server = start_valkey("--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
    old = make_store(server)
    await old.open()
    accepted: list[str] = []
    with pytest.raises(StoreFullError):
        for _ in range(1000):
            accepted.append(await submit(old, body=b"x" * 65536))
    # whatever the server frees of its buffers meanwhile
    server.ask("CONFIG", "SET", "maxmemory", "1mb")
    # one of the same version, whose functions are there
    same = make_store(server)
    await same.open()
    full = f"The memory of Valkey at 127.0.0.1:{server.port} is full"
    for synced in ("everysec", "always"):
        server.ask("CONFIG", "SET", "appendfsync", synced)
        assert await same.check() == f"warning: {full}: it takes no task."
    assert (await same.counts()).pending == len(accepted)
    await same.close()

    name = "servedeck_of_later"
    text = connection.LIBRARY_TEXT.replace(connection.LIBRARY, name)
    monkeypatch.setattr(connection, "LIBRARY", name)
    monkeypatch.setattr(connection, "LIBRARY_TEXT", text)
    new = make_store(server)
    await new.open()
    assert name not in server.ask("FUNCTION", "LIST")
    assert await new.check() == f"warning: {full}: it takes no task."
    with pytest.raises(StoreFullError, match=full):
        await submit(new, body=b"x")
    # as after a restart of the server
    assert server.ask("SCRIPT", "FLUSH").startswith("+OK")
    claimed = await claim(new, len(accepted))
    assert [one.id for one in claimed] == accepted
    for one in claimed:
        assert await new.finish(end_of(one, keep=0))
    while (await new.sweep(60)).is_full:
        pass
    assert (await new.counts()).backlog == 0
    server.ask("CONFIG", "SET", "maxmemory", "100mb")
    await with_timeout(_submit_until_accepted(new))

    async def is_loaded() -> bool:
        return await new.check() == "" and name in server.ask("FUNCTION", "LIST")

    while not await is_loaded():
        await asyncio.sleep(0.01)
    assert (await new.counts()).pending == 1
    for store in (old, new):
        await store.close()


async def test_every_function_is_in_the_script(valkey_server: ValkeyServer) -> None:
    """A batch of many arguments, too."""
    store = make_store(valkey_server)
    await store.open()
    await store._valkey._load_in_full_memory()
    assert not store._valkey.uses_scripts, "the functions are there"
    valkey_server.ask("FUNCTION", "FLUSH")
    await store._valkey._load_in_full_memory()
    assert store._valkey.uses_scripts
    ids = await asyncio.gather(*(submit(store) for _ in range(600)))
    claimed = await claim(store, 600)
    assert sorted(one.id for one in claimed) == sorted(ids)
    assert all(await asyncio.gather(*(store.finish(end_of(one)) for one in claimed)))
    assert (await store.counts()).completed == 600
    assert len(await store.page(None, "", 10)) == 10
    assert len(await store.read_feed("0", 10_000, 0)) == 1800
    assert "servedeck" not in valkey_server.ask("FUNCTION", "LIST")
    await store.close()


async def _submit_until_accepted(store: ValkeyStore) -> None:
    while True:  # the memory is given back by a thread of the server
        try:
            submitted = await store.submit(new_task(b"y" * 65536), 10_000)
        except StoreFullError:
            await asyncio.sleep(0.01)
        else:
            assert submitted.outcome is SubmitOutcome.ACCEPTED
            return


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("maxmemory-policy allkeys-lru", "maxmemory-policy is allkeys-lru and must be noeviction"),
        ("appendonly no", "it writes no append-only file; set appendonly yes"),
        ("appendfsync no", "set appendfsync always"),
        ("appendfsync everysec", "warning: "),
    ],
)
async def test_check_says_how_tasks_may_be_lost(
    valkey_server: ValkeyServer, command: str, expected: str
) -> None:
    store = make_store(valkey_server)
    await store.open()
    assert await store.check() == ""
    assert valkey_server.ask("CONFIG", "SET", *command.split()).startswith("+OK")
    found = await store.check()
    assert expected in found
    assert found.startswith("warning: ") == ("everysec" in command)
    assert found.endswith(".")
    await store.close()


async def test_a_replica_cannot_be_written_to(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    stored = await submit(store)
    # its primary is this port of nobody
    assert valkey_server.ask("REPLICAOF", "127.0.0.1", "1").startswith("+OK")
    with pytest.raises(StoreUnavailableError, match="is a replica and cannot be written to"):
        await submit(store)
    assert "is a replica" in await store.check()
    assert await store.find(stored) is not None
    assert valkey_server.ask("REPLICAOF", "NO", "ONE").startswith("+OK")
    await submit(store)
    await store.close()


@pytest.mark.parametrize("first", ["submit", "check"])
async def test_the_address_is_resolved_anew_after_a_failover(
    start_valkey: StartValkey, first: str
) -> None:
    old, new = start_valkey(), start_valkey()
    async with address_of(old.port) as address:
        store = make_store(old, url=f"valkey://127.0.0.1:{address.port}")
        await store.open()
        waiting = asyncio.create_task(store.read_feed(await store.feed_end(), 10, 3600))
        await submit(store)
        await with_timeout(waiting)
        address.target = new.port
        assert old.ask("REPLICAOF", "127.0.0.1", str(new.port)).startswith("+OK")
        if first == "check":
            assert "is a replica" in await store.check()
            assert await store.check() == ""
        # its connections to the old one are open still
        await submit(store)
        assert new.ask("ZCARD", f"{{{SERVING}}}:s:P").startswith(":1")
        await store.close()


async def test_too_few_replicas(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    valkey_server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    with pytest.raises(StoreUnavailableError, match="has too few replicas to be written to"):
        await submit(store)
    assert (await store.counts()).pending == 0
    await store.close()


async def test_a_task_is_accepted_once_a_replica_has_it(start_valkey: StartValkey) -> None:
    primary, replica = start_valkey(), start_valkey()
    assert replica.ask("REPLICAOF", "127.0.0.1", str(primary.port)).startswith("+OK")
    await wait_until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"))
    store = make_store(primary, wait_replicas=1)
    await store.open()
    accepted = await asyncio.gather(*(submit(store) for _ in range(100)))
    await asyncio.to_thread(primary.kill)
    replica.ask("REPLICAOF", "NO", "ONE")
    promoted = make_store(replica)
    await promoted.open()
    stored = {task.id for task in await promoted.page(None, "", 1000)}
    assert set(accepted) <= stored
    await promoted.close()
    await store.close()


async def test_a_task_that_too_few_replicas_have_is_not_accepted() -> None:
    accepted = b"*1\r\n*3\r\n$8\r\naccepted\r\n$1\r\nx\r\n:0\r\n"
    async with answering(accepted, wait=1) as port:
        for wanted, expected in ((1, ""), (2, "Only 1 of 2 replicas of")):
            store = make_fake(port, wait_replicas=wanted)
            await store.open()
            if expected:
                with pytest.raises(StoreUnavailableError, match=expected):
                    await with_timeout(submit(store))
            else:
                assert await with_timeout(submit(store)) == "x"
            await store.close()


async def test_the_password(start_valkey: StartValkey) -> None:
    server = start_valkey("--requirepass", PASSWORD)
    right = make_store(server, password=PASSWORD)
    await right.open()
    await submit(right)
    await right.close()
    in_url = make_store(server, url=f"valkey://:{PASSWORD}@127.0.0.1:{server.port}/0")
    await in_url.open()
    await in_url.close()
    for password, expected in (
        (None, "asks for a password"),
        ("wrong-" + PASSWORD, "does not accept the user or the password"),
    ):
        store = make_store(server, password=password)
        with pytest.raises(StoreUnavailableError, match=expected) as caught:
            await store.open()
        assert PASSWORD not in str(caught.value) + repr(caught.value)
        await store.close()


async def test_a_user_without_rights(valkey_server: ValkeyServer) -> None:
    valkey_server.ask("ACL", "SETUSER", "guest", "on", f">{PASSWORD}", "~*", "+info", "+function")
    url = f"valkey://guest:{PASSWORD}@127.0.0.1:{valkey_server.port}"
    store = make_store(valkey_server, url=url)
    await store.open()
    with pytest.raises(StoreUnavailableError, match="does not allow its user") as caught:
        await submit(store)
    assert PASSWORD not in str(caught.value)
    await store.close()


def test_a_url_that_cannot_be_used_is_not_repeated() -> None:
    for url in (f"valkey://:{PASSWORD}@host:port", f"http://:{PASSWORD}@host", f"valkey://{''}"):
        with pytest.raises(ValueError, match="the URL of the store") as caught:
            ValkeyStore(SERVING, url)
        assert PASSWORD not in str(caught.value)


REPLIES = [
    (b"-LOADING Valkey is loading the dataset in memory", "is still loading its data"),
    (b"-MISCONF Errors writing to the AOF file: No space left on device", "cannot write its disk"),
    (b"-BUSY Valkey is busy running a script", "is busy with a script"),
    (b"-UNBLOCKED force unblock, instance state changed", "has become a replica"),
    (b"-MASTERDOWN Link with MASTER is down", "is a replica whose primary is away"),
    (b"-CLUSTERDOWN Hash slot not served", "is part of a cluster that is down"),
    (b"-MOVED 3999 ?:6381", "is not the node of the cluster that has this serving"),
    (b"-ERR something about a secret", "refused a command"),
]


@pytest.mark.parametrize(("reply", "expected"), REPLIES, ids=[text for _, text in REPLIES])
async def test_errors_become_a_sentence(reply: bytes, expected: str) -> None:
    async with answering(reply + b"\r\n") as port:
        store = make_fake(port)
        await store.open()
        for call in (submit(store), store.counts(), claim(store), store.read_feed("0", 1, 60)):
            with pytest.raises(StoreUnavailableError) as caught:
                await with_timeout(call)
            assert str(caught.value) == f"Valkey at 127.0.0.1:{port} {expected}."
        await store.close()


async def test_memory_is_full_for_others_than_submit() -> None:
    async with answering(b"-OOM command not allowed\r\n") as port:
        store = make_fake(port)
        await store.open()
        with pytest.raises(StoreFullError):
            await with_timeout(submit(store))
        with pytest.raises(StoreUnavailableError):
            await with_timeout(claim(store))
        await store.close()


async def test_a_disk_that_cannot_be_written_is_told() -> None:
    more = "role:master\r\naof_enabled:1\r\naof_last_write_status:err\r\n"
    async with answering(b"+OK", more=more) as port:
        store = make_fake(port)
        assert await store.check() == f"Valkey at 127.0.0.1:{port} cannot write its disk."
        await store.close()


async def test_an_old_server() -> None:
    async with answering(b"+OK\r\n", version="6.2.14") as port:
        store = make_fake(port)
        with pytest.raises(StoreUnavailableError, match=r"has version 6\.2\.14; Valkey, or"):
            await store.open()
        await store.close()


async def test_loading_is_waited_out(start_valkey: StartValkey) -> None:
    server = start_valkey()
    store = make_store(server)
    await store.open()
    await asyncio.gather(*(submit(store) for _ in range(3000)))
    await asyncio.to_thread(server.kill)
    # microseconds for each of some 36,000 commands; it answers after each 1,024
    server.options = ("--key-load-delay", "1000")
    await asyncio.to_thread(server.start, wait=False)
    said: set[str] = set()

    async def until_loaded() -> None:
        while True:
            try:
                await submit(store)
            except StoreUnavailableError as error:
                said.add(str(error).removeprefix(f"Valkey at 127.0.0.1:{server.port} "))
                if "is still loading its data." in said:
                    server.ask("CONFIG", "SET", "key-load-delay", "0")
                await asyncio.sleep(0.01)
            else:
                return

    await with_timeout(until_loaded())
    assert said <= {"cannot be reached.", "is still loading its data."}
    assert "is still loading its data." in said
    assert (await store.counts()).pending == 3001
    await store.close()


async def test_nobody_listens(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server)
    await store.open()
    await asyncio.to_thread(valkey_server.kill)
    for call in (store.open(), submit(store), store.counts(), store.check()):
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await with_timeout(call)
    await asyncio.to_thread(valkey_server.start)
    await submit(store)
    await store.close()


async def test_no_answer_within_the_timeout(valkey_server: ValkeyServer) -> None:
    store = make_store(valkey_server, timeout=0.3)
    patient = make_store(valkey_server)
    await patient.open()
    with valkey_server.stopped():
        calls: list[Any] = [store.open(), submit(store), store.find("x"), claim(store)]
        errors = await with_timeout(asyncio.gather(*calls, return_exceptions=True))
    assert {str(one) for one in errors} == {
        f"Valkey at 127.0.0.1:{valkey_server.port} did not answer in 0.3 s."
    }
    assert all(isinstance(one, StoreError) for one in errors)
    # what was sent may have been done; the connections are not mixed up by late answers
    task = new_task()
    await patient.submit(task, 10)
    found = await patient.find(task.id)
    assert found is not None
    assert found.task.id == task.id
    await store.close()
    await patient.close()
