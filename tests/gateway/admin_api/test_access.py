"""Who may do what on the admin port."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from servedeck.gateway.admin_api import access
from servedeck.gateway.admin_api.access import Access, AccessCheck
from servedeck.gateway.admin_api.app import AdminApp
from servedeck.gateway.asgi import HttpError
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError, make_settings
from tests.gateway.admin_api.rig import Rig, running_rig

ADMIN, VIEW = "admin-key", "view-key"


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Rig]:
    (tmp_path / "admin").write_text(f"{ADMIN}\n")
    (tmp_path / "view").write_text(f"{VIEW}\n")
    keys = {"admin_key_file": tmp_path / "admin", "view_key_file": tmp_path / "view"}
    async with running_rig(tmp_path, **keys) as rig:
        yield rig


async def status_of(rig: Rig, method: str, path: str, key: str | None) -> int:
    headers = {} if key is None else {"X-Servedeck-Key": key}
    async with rig.session.request(method, rig.url + path, headers=headers) as response:
        return response.status


async def test_each_route_needs_its_key(keyed: Rig) -> None:
    id = await keyed.complete()
    for route in keyed.app.routes:
        if route.path == "/-/async/feed":
            continue  # it does not end; see below
        path = route.path.replace("{id}", id)
        found = [await status_of(keyed, route.method, path, key) for key in (None, "x", VIEW)]
        allowed = await status_of(keyed, route.method, path, ADMIN)
        assert allowed not in (401, 403), path
        if route.needed is Access.NONE:
            assert found == [200, 200, 200], path
        elif route.needed is Access.VIEW:
            assert found == [401, 401, allowed], path
        else:
            assert found == [401, 401, 403], path


async def test_only_reading_without_bodies_is_for_the_key_of_viewers(keyed: Rig) -> None:
    viewing = [one for one in keyed.app.routes if one.needed is Access.VIEW]
    assert {one.method for one in viewing} == {"GET"}
    viewed = {one.path for one in viewing}
    assert not {one for one in viewed if one.endswith(("/request", "/response"))}
    free = {one.path for one in keyed.app.routes if one.needed is Access.NONE}
    assert free == {"/healthz", "/readyz", "/metrics"}


async def test_the_feed_needs_a_key(keyed: Rig) -> None:
    assert await status_of(keyed, "GET", "/-/async/feed", None) == 401
    assert await status_of(keyed, "HEAD", "/-/async/feed", VIEW) == 200


async def test_what_a_refused_caller_asked_for_is_not_done(keyed: Rig) -> None:
    id = await keyed.submit()
    for key in (None, "x", VIEW):
        assert await status_of(keyed, "POST", f"/-/async/tasks/{id}/cancel", key) in (401, 403)
        assert await status_of(keyed, "POST", "/-/async/queue/purge", key) in (401, 403)
    assert (await keyed.context.store.counts()).pending == 1


async def test_two_keys_are_none(keyed: Rig) -> None:
    headers = [("X-Servedeck-Key", ADMIN), ("X-Servedeck-Key", "x")]
    async with keyed.session.get(f"{keyed.url}/-/async/queue", headers=headers) as response:
        assert response.status == 401


async def test_keys_are_not_logged(keyed: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await status_of(keyed, "GET", "/-/async/queue", "a-wrong-key")
    await status_of(keyed, "GET", "/-/async/queue", ADMIN)
    assert ADMIN not in caplog.text and "a-wrong-key" not in caplog.text


# -- keys that change -------------------------------------------------------------------------


class MountedSecret:
    """As the kubelet mounts one (pkg/volume/util/atomic_writer.go): the files are links through
    ..data, a link to a folder, which is replaced by a rename."""

    def __init__(self, folder: Path, **keys: str) -> None:
        self.folder = folder
        self._number = 0
        folder.mkdir()
        self.replace(**keys)
        for name in keys:
            (folder / name).symlink_to(f"..data/{name}")

    def replace(self, **keys: str) -> None:
        self._number += 1
        made = self.folder / f"..{self._number}"
        made.mkdir()
        for name, key in keys.items():
            (made / name).write_text(key)
        link = self.folder / "..data_tmp"
        link.symlink_to(made.name)
        link.rename(self.folder / "..data")


@pytest.fixture
async def mounted(tmp_path: Path) -> AsyncIterator[tuple[Rig, MountedSecret]]:
    secret = MountedSecret(tmp_path / "secret", admin=ADMIN, view=VIEW)
    files = {f"{one}_key_file": secret.folder / one for one in ("admin", "view")}
    async with running_rig(tmp_path, **files) as rig:
        yield rig, secret


async def statuses(rig: Rig, *keys: str) -> list[int]:
    """What pausing the queue is answered with each key."""
    return [await status_of(rig, "POST", "/-/async/queue/pause", key) for key in keys]


async def test_keys_that_are_rotated_are_read_again(mounted: tuple[Rig, MountedSecret]) -> None:
    rig, secret = mounted
    assert await statuses(rig, ADMIN, VIEW) == [200, 403]
    secret.replace(admin="another", view="a-third")
    assert await statuses(rig, ADMIN, VIEW, "another", "a-third") == [401, 401, 200, 403]
    # of the same length, and with each other's
    secret.replace(admin="a-third", view="another")
    assert await statuses(rig, "another", "a-third") == [403, 200]
    # somebody writes the file itself
    (secret.folder / "..data" / "view").write_text("written")
    assert await statuses(rig, "another", "written", "a-third") == [401, 403, 200]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"admin": "same", "view": "same"}, "must have different keys"),
        ({"admin": " ", "view": "new"}, "is empty"),
        ({"view": "new"}, "No such file"),
    ],
)
async def test_keys_that_cannot_be_used_leave_those_of_before(
    mounted: tuple[Rig, MountedSecret],
    keys: dict[str, str],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig, secret = mounted
    secret.replace(**keys)
    assert await statuses(rig, ADMIN, VIEW, "same", "new") == [200, 403, 401, 401]
    assert caplog.text.count("The keys of the admin port stay as they were: ") == 1
    assert said in caplog.text
    secret.replace(admin="better", view=VIEW)
    assert await statuses(rig, ADMIN, "better") == [401, 200]


async def test_keys_that_could_not_be_read_once_are_read_again(
    mounted: tuple[Rig, MountedSecret], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, secret = mounted
    secret.replace(admin="better", view=VIEW)

    def read(_: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        assert await statuses(rig, ADMIN, "better") == [200, 401]
    assert await statuses(rig, ADMIN, "better") == [401, 200]


async def test_files_that_have_not_changed_are_not_read(
    mounted: tuple[Rig, MountedSecret], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, _ = mounted

    def read(*_: object) -> None:
        raise AssertionError("it is read")

    monkeypatch.setattr(access, "_read_keys", read)
    assert await statuses(rig, ADMIN, VIEW) == [200, 403]


# -- without a key ----------------------------------------------------------------------------


def settings(**changes: Any) -> GatewaySettings:
    values = {"serving": "chat/llama", "upstreams": ("http://a:1",)}
    return make_settings(values | changes)


def scope(client: str | None, **headers: str) -> dict[str, Any]:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"client": client and (client, 1), "headers": raw}


@pytest.mark.parametrize(
    ("client", "headers", "is_allowed"),
    [
        ("127.0.0.1", {"host": "localhost:8081"}, True),
        ("127.0.0.1", {"host": "127.0.0.1"}, True),
        ("::1", {"host": "[::1]:8081"}, True),
        ("::ffff:127.0.0.1", {"host": "localhost"}, True),
        ("10.0.0.7", {"host": "localhost"}, False),
        (None, {"host": "localhost"}, False),
        # a page of another site, in a browser on this host
        ("127.0.0.1", {"host": "localhost", "origin": "https://evil.example"}, False),
        ("127.0.0.1", {"host": "evil.example:8081"}, False),
        ("127.0.0.1", {"host": "127.0.0.1.evil.example"}, False),
        ("127.0.0.1", {}, False),
        # the proxy of a mesh in the Pod, and another one on this host
        ("127.0.0.6", {"host": "localhost"}, False),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "10.0.0.7"}, False),
        ("127.0.0.1", {"host": "localhost", "via": "1.1 proxy"}, False),
        # what a client says of its address does not count
        ("10.0.0.7", {"host": "localhost", "x-forwarded-for": "127.0.0.1"}, False),
    ],
)
def test_without_a_key_only_programs_of_this_host_are_allowed(
    client: str | None, headers: dict[str, str], is_allowed: bool
) -> None:
    check = AccessCheck(settings())
    if is_allowed:
        check.require(scope(client, **headers), Access.ADMIN)
        return
    with pytest.raises(HttpError) as error:
        check.require(scope(client, **headers), Access.VIEW)
    assert error.value.problem.status == 401


def test_with_a_key_this_host_needs_it_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(ADMIN)
    check = AccessCheck(settings(admin_key_file=tmp_path / "key"))
    with pytest.raises(HttpError):
        check.require(scope("127.0.0.1", host="localhost"), Access.VIEW)


async def test_who_comes_through_a_proxy_on_this_host_needs_a_key(rig: Rig) -> None:
    for address in ("10.0.0.7", "127.0.0.1"):
        headers = {"X-Forwarded-For": address}
        async with rig.session.get(f"{rig.url}/-/async/queue", headers=headers) as response:
            assert response.status == 401


def test_a_key_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatewaySettingsError, match=r"admin_key_file: .*No such file"):
        AccessCheck(settings(admin_key_file=tmp_path / "none"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(GatewaySettingsError, match=r"view_key_file: .* is empty"):
        AccessCheck(settings(view_key_file=tmp_path / "empty"))
    (tmp_path / "key").write_text(ADMIN)
    same = settings(admin_key_file=tmp_path / "key", view_key_file=tmp_path / "key")
    with pytest.raises(GatewaySettingsError, match="different keys"):
        AccessCheck(same)


# -- routes -----------------------------------------------------------------------------------


async def test_methods_and_paths_that_do_not_exist(rig: Rig) -> None:
    async with rig.session.post(f"{rig.url}/-/async/queue") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert response.headers["Content-Type"] == "application/problem+json"
    async with rig.session.get(f"{rig.url}/-/async/queue/pause") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    for path in (
        "/",
        "/-/async",
        "/-/async/",
        "/-/async/queue/",
        "/v1/models",
        "/-/async/tasks/a/b",
    ):
        assert (await rig.ask("GET", path))[0] == 404, path


def test_a_process_that_only_delivers_has_the_probes_alone(rig: Rig) -> None:
    settings = msgspec.structs.replace(rig.context.settings, role="deliver")
    app = AdminApp(replace(rig.context, settings=settings))
    assert {one.path for one in app.routes} == {"/healthz", "/readyz", "/metrics"}
