"""A gateway within a process, as the demo runs it; its secret and its store."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from servedeck.gateway.delivery.sweeper import delete_orphans
from servedeck.gateway.delivery.worker import Worker
from servedeck.gateway.identity import MIN_SECRET_BYTES
from servedeck.gateway.process import GatewayError, make_context, running_gateway
from servedeck.gateway.secret import open_identity
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError, make_settings
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.upstreams.endpoint_slices import WatchedUpstreams
from servedeck.gateway.upstreams.upstreams import FixedUpstreams
from tests.gateway.process.rig import ANSWER, InferenceServer
from tests.waiting import wait_until, with_timeout


def settings(folder: Path, **changes: Any) -> GatewaySettings:
    values: dict[str, Any] = {
        "serving": "chat/llama",
        "store": f"sqlite:{folder / 'tasks.db'}",
        "host": "127.0.0.1",
        "admin_host": "127.0.0.1",
        "port": 0,
        "admin_port": 0,
        "upstreams": ("http://127.0.0.1:1",),
    }
    return make_settings(values | changes)


async def test_it_runs_within_a_process(tmp_path: Path) -> None:
    async with (
        InferenceServer().serving() as server,
        aiohttp.ClientSession() as session,
    ):
        async with running_gateway(settings(tmp_path, upstreams=(server.url,))) as gateway:
            await with_timeout(gateway.wait_until_open())
            url = f"http://127.0.0.1:{gateway.public_port}/v1/chat/completions"
            headers = {"X-Async": "true", "Prefer": "wait=60"}
            async with session.post(url, headers=headers, data=b"{}") as response:
                assert response.status == 200
                assert await response.json() == ANSWER
            async with session.get(f"http://127.0.0.1:{gateway.admin_port}/metrics") as response:
                page = await response.text()
            for name in ("commit_seconds", "commit_batch_size"):
                found = re.search(rf"^servedeck_async_{name}_count (\S+)", page, re.MULTILINE)
                assert found is not None
                assert float(found[1]) > 0
            ready = f"http://127.0.0.1:{gateway.admin_port}/readyz"
            async with session.get(ready) as response:
                assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(ready)
    assert not [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]


async def test_a_closed_queue_is_opened_by_a_gateway_of_another_secret(tmp_path: Path) -> None:
    """One that was turned off is open when it is turned on again, with a new Secret; a gateway
    that only starts again leaves it closed."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"1" * MIN_SECRET_BYTES)
    made = settings(tmp_path, secret_file=secret)

    async def is_closed() -> bool:
        async with running_gateway(made) as gateway:
            await with_timeout(gateway.wait_until_open())
            return bool((await gateway.context.store.control()).closed_by)

    async with running_gateway(made) as gateway, aiohttp.ClientSession() as session:
        await with_timeout(gateway.wait_until_open())
        queue = f"http://127.0.0.1:{gateway.admin_port}/-/async/queue"
        for action in ("pause", "close"):
            async with session.post(f"{queue}/{action}") as response:
                assert response.status == 200
    assert await is_closed()
    secret.write_bytes(b"2" * MIN_SECRET_BYTES)
    assert not await is_closed()
    async with running_gateway(made) as gateway:
        await with_timeout(gateway.wait_until_open())
        assert (await gateway.context.store.control()).paused, "nothing else is changed"


async def test_a_wait_is_answered_when_the_gateway_ends(tmp_path: Path) -> None:
    async with InferenceServer().serving() as server, aiohttp.ClientSession() as session:
        server.open.clear()

        async def submit(port: int | None) -> int:
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            headers = {"Prefer": "respond-async, wait=60"}
            async with session.post(url, headers=headers, data=b"{}") as response:
                return response.status

        async with running_gateway(settings(tmp_path, upstreams=(server.url,))) as gateway:
            await with_timeout(gateway.wait_until_open())
            waiting = asyncio.create_task(submit(gateway.public_port))
            await wait_until(lambda: server.arrived and gateway.context.hub._watched)
        assert await with_timeout(waiting) == 202
        server.open.set()


async def test_a_part_that_fails_ends_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_self: Worker) -> None:
        raise ValueError("a bug")

    async def drain(_self: Worker, _seconds: float) -> None: ...

    monkeypatch.setattr(Worker, "run", fail)
    monkeypatch.setattr(Worker, "drain", drain)
    with pytest.raises(GatewayError, match=r"The worker failed: ValueError\."):
        async with running_gateway(settings(tmp_path)) as gateway:
            await with_timeout(gateway.wait())


async def test_a_gateway_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    async with running_gateway(settings(tmp_path)) as gateway:
        await with_timeout(gateway.wait_until_open())
        taken = settings(tmp_path / ".", port=gateway.public_port)
        with pytest.raises(GatewayError, match="Cannot listen"):
            async with running_gateway(taken):
                pass
    async with running_gateway(settings(tmp_path)) as gateway:
        await with_timeout(gateway.wait_until_open())


async def test_a_store_that_comes_back_while_it_ends_starts_nothing(tmp_path: Path) -> None:
    async with running_gateway(settings(tmp_path)) as first:
        await with_timeout(first.wait_until_open())
        async with running_gateway(settings(tmp_path)) as second:
            await wait_until(lambda: "in use" in second.state.not_ready)
            [starting] = [one for one in second._parts if one.get_name() == "start"]
            await second.drain()
            await wait_until(starting.cancelled)
            assert second.state.not_ready == "The gateway shuts down."


# -- the secret -------------------------------------------------------------------------------


def test_a_secret_is_made_beside_the_database(tmp_path: Path) -> None:
    first = open_identity(settings(tmp_path))
    file = tmp_path / "tasks.db.secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_bytes()) >= MIN_SECRET_BYTES
    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    id = first.new_id("someone")
    assert open_identity(settings(tmp_path)).is_issued(id, "someone")


def test_a_secret_of_the_settings_is_used(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"s" * 32)
    (tmp_path / "two").write_bytes(b"t" * 32)
    one = open_identity(settings(tmp_path, secret_file=tmp_path / "one"))
    two = open_identity(settings(tmp_path, secret_file=tmp_path / "two"))
    id = one.new_id("someone")
    assert one.is_issued(id, "someone") and not two.is_issued(id, "someone")
    assert not (tmp_path / "tasks.db.secret").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret_file": "none"}, "secret_file: .*No such file"),
        ({"secret_file": "short"}, "secret_file: .*at least 32 bytes"),
        ({"store": "valkey://127.0.0.1:1"}, "secret_file must name a file"),
        ({"store": "sqlite:none/tasks.db"}, "No such file|does not exist"),
        ({"store": "valkey://h:x", "secret_file": "long"}, "store: "),
        (
            {"store": "valkey://h", "secret_file": "long", "store_password_file": "none"},
            "store_password_file: .*No such file",
        ),
        ({"service": "chat/llama", "upstreams": ()}, "service must be NAMESPACE/NAME:PORT"),
        ({"admin_key_file": "none"}, "admin_key_file: .*No such file"),
        ({"service_authorization_file": "empty"}, "service_authorization_file: .*one line"),
        ({"callback_secret_file": "none"}, "callback_secret_file: .*No such file"),
        ({"callback_secret_file": "empty"}, "callback_secret_file: .*is empty"),
        ({"callback_secret_file": "bad"}, "callback_secret_file: .*Base64"),
    ],
)
async def test_settings_that_cannot_be_used_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").write_bytes(b"s" * 31)
    Path("long").write_bytes(b"s" * 32)
    Path("empty").write_bytes(b"\n")
    Path("bad").write_bytes(b"whsec_?")
    with pytest.raises(GatewaySettingsError, match=said):
        async with running_gateway(settings(Path(), **changes)):
            pass


async def test_a_gateway_that_only_accepts_may_lack_the_secret_of_callbacks(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 32)
    shared = {
        "store": "valkey://127.0.0.1:1",
        "secret_file": tmp_path / "secret",
        "callback_secret_file": tmp_path / "none",
    }
    await make_context(settings(tmp_path, role="accept", **shared)).store.close()
    with pytest.raises(GatewaySettingsError, match="callback_secret_file"):
        make_context(settings(tmp_path, role="deliver", **shared))


@pytest.mark.parametrize(
    ("found", "is_ready"),
    [("", True), ("warning: It syncs late.", True), ("It may delete tasks.", False)],
)
async def test_only_a_gateway_that_is_ready_says_so_in_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    found: str,
    is_ready: bool,
) -> None:
    async def check(self: SqliteStore) -> str:
        return found

    monkeypatch.setattr(SqliteStore, "check", check)
    caplog.set_level(logging.INFO)
    async with running_gateway(settings(tmp_path)) as gateway:
        await gateway.wait_until_open()
    assert ("The gateway of chat/llama is ready." in caplog.messages) is is_ready
    not_ready = "The gateway of chat/llama has started, but is not ready: It may delete tasks."
    assert (not_ready in caplog.messages) is not is_ready
    assert ("The store: It syncs late." in caplog.messages) is found.startswith("warning")


async def test_servings_that_share_an_object_store_keep_their_objects(tmp_path: Path) -> None:
    contexts = []
    for name in ("chat/llama", "chat/qwen"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        context = make_context(
            settings(folder, serving=name, objects=f"file:{tmp_path / 'objects'}")
        )
        await context.store.open()
        contexts.append(context)
    first, second = contexts
    assert first.objects is not None
    assert second.objects is not None
    await first.objects.put("task/request", b"body")
    assert await delete_orphans(second, second.objects, 0) == 0
    assert [part async for part in first.objects.read("task/request")] == [b"body"]
    assert await delete_orphans(first, first.objects, 0) == 1
    for context in contexts:
        await context.store.close()


async def test_what_the_settings_name_is_opened(tmp_path: Path) -> None:
    context = make_context(settings(tmp_path, objects=f"file:{tmp_path / 'objects'}"))
    assert isinstance(context.store, SqliteStore)
    assert isinstance(context.upstreams, FixedUpstreams)
    assert context.objects is not None
    watched = make_context(settings(tmp_path, upstreams=(), service="chat/llama:8000"))
    assert isinstance(watched.upstreams, WatchedUpstreams)
    assert watched.objects is None


@pytest.mark.parametrize(
    ("role", "absent"),
    [("accept", {"aiohttp", "pydantic", "servedeck.cluster"}), ("deliver", {"pydantic"})],
)
def test_a_process_loads_only_what_its_role_needs(
    tmp_path: Path, role: str, absent: set[str]
) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 32)
    program = f"""
import sys
from servedeck.commands.gateway import run
from servedeck.gateway.process import make_context
from servedeck.gateway.settings import make_settings
make_context(make_settings({{
    "serving": "a/b", "service": "a/b:80", "store": "valkey://h", "secret_file": "secret",
    "role": {role!r},
}}))
print(*sys.modules)
"""
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not absent & set(found.stdout.split())
