"""Credential plugins that wait for a person, fail or are given up."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from servedeck.cluster.auth import exec_plugin
from servedeck.cluster.auth.credentials import CredentialManager
from servedeck.cluster.auth.exec_plugin import Credential
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.http.errors import ApiError, CredentialsError
from tests.cluster.auth.credential_fixtures import (
    API_VERSION,
    TokenCheckingServer,
    connected_as,
    count_runs,
    make_exec_user,
    plugin_script,
    write_script,
)
from tests.cluster.fake_api_server import write_kubeconfig
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that runs is reported as soon as it runs."""
    monkeypatch.setattr(exec_plugin, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(exec_plugin, "_NOTICE_INTERVAL", 0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_manager(
    tmp_path: Path,
    plugin: Path,
    clock: Clock,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> CredentialManager:
    file = write_kubeconfig(tmp_path / "config", "https://x", make_exec_user(plugin))
    context = load_kubeconfig(ConnectionOptions((file,)), {}).get_context()
    return CredentialManager(context, clock, now)


async def result_of_try(manager: CredentialManager) -> bool:
    """What `try_again` says once the renewal that it began has ended."""
    assert not manager.try_again()
    if manager._trial is not None:
        await with_timeout(asyncio.wait([manager._trial]))
    return manager.try_again()


def waiting_script(count: Path, said: str, gate: Path) -> str:
    """A plugin that says something, and gives its token once the file `gate` exists."""
    return f"printf '{said}' >&2\nwhile ! test -e {gate}; do sleep 0.05; done\n" + plugin_script(
        count, token="t-RUN"
    )


@pytest.mark.usefixtures("at_once")
async def test_what_a_plugin_says_while_it_waits_is_reported(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    gate, notices = tmp_path / "gate", list[str]()
    said = (
        "starting\\\\n\\\\033[31mTo sign in, open https://example.com/device?user_code=WX"
        "\\\\n\\\\nand enter the code WXYZ-1234\\\\n"
    ).replace("\\\\", "\\")
    plugin = write_script(tmp_path / "plugin", waiting_script(tmp_path / "count", said, gate))
    token_checking_api.accepted_tokens = {"t-1"}
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        connection.on_login_notice(notices.append)
        request = asyncio.create_task(connection.get("/fine"))
        await wait_until(lambda: "WXYZ-1234" in connection.login_notice)
        assert connection.login_notice == (
            "The credential plugin 'plugin' is running and says: To sign in, open "
            "https://example.com/device?user_code=WX and enter the code WXYZ-1234"
        )
        gate.touch()
        await with_timeout(request)
        assert connection.login_notice == ""
    assert notices[-1] == ""


@pytest.mark.usefixtures("at_once")
async def test_a_plugin_that_says_nothing_is_reported(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    plugin = write_script(tmp_path / "plugin", waiting_script(tmp_path / "count", "", gate))
    manager = make_manager(tmp_path, plugin, Clock())
    task = asyncio.create_task(manager.current())
    await wait_until(lambda: "may wait for a login in a browser" in manager.notice)
    gate.touch()
    await with_timeout(task)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Bearer abcdefgh", "Bearer [hidden]"),
        (
            "open https://me:pw@x.io/?id_token=abc&n=1",
            "https://[hidden]@x.io/?id_token=[hidden]&n=1",
        ),
        ("10%\r20%\r30%", "says: 30%"),
    ],
)
def test_secrets_are_masked_in_what_a_plugin_says(said: str, expected: str) -> None:
    assert expected in exec_plugin._describe_wait("x", said.encode())


@pytest.mark.usefixtures("at_once")
async def test_a_canceled_request_ends_no_login(tmp_path: Path) -> None:
    gate, count = tmp_path / "gate", tmp_path / "count"
    starts = tmp_path / "starts"
    body = f"echo start >> {starts}\n" + waiting_script(count, "", gate)
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), Clock())
    first = asyncio.create_task(manager.current())
    await wait_until(lambda: count_runs(starts) == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(manager.current())
    gate.touch()
    assert (await with_timeout(second)).authorization == "Bearer t-1"
    assert count_runs(starts) == 1, "no second page in a browser"


@pytest.mark.usefixtures("at_once")
async def test_closing_ends_a_plugin_that_waits(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = f"trap '' TERM\necho $$ > {pid}\nwhile :; do sleep 0.1; done"
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), Clock())
    task = asyncio.create_task(manager.current())
    await wait_until(lambda: pid.exists() and pid.read_text())
    await manager.close()
    with pytest.raises(CredentialsError, match="was closed"):
        await with_timeout(task)
    await wait_until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


@pytest.mark.usefixtures("at_once")
async def test_a_plugin_that_waited_in_vain_is_run_again_only_when_asked(tmp_path: Path) -> None:
    starts, give_up, clock = tmp_path / "starts", tmp_path / "give-up", Clock()
    body = (
        f"echo start >> {starts}\nwhile ! test -e {give_up}; do sleep 0.05; done\n"
        "echo 'nobody came' >&2; exit 1"
    )
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), clock)
    task = asyncio.create_task(manager.current())
    await wait_until(lambda: manager.notice)
    give_up.touch()
    with pytest.raises(CredentialsError, match=r"nobody came.*not run again until you retry"):
        await with_timeout(task)
    for _ in range(3):
        clock.now += 3600
        with pytest.raises(CredentialsError, match="nobody came"):
            await manager.current()
        assert not await result_of_try(manager)
    assert count_runs(starts) == 1, "a night later"
    manager.reset_backoff()
    with pytest.raises(CredentialsError):
        await manager.current()
    assert count_runs(starts) == 2


@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ("Please visit the following URL in your browser: http://localhost:8000/", True),
        ("To sign in, open https://example.com/device and enter the code WXYZ", True),
        ('Get "https://oauth2.example.com/token": dial tcp: lookup: no such host', False),
        ("token expired, run login", False),
        ("unexpected status code 503 Service Unavailable: https://login.example.com/token", False),
        ("HTTP status code 429 from https://login.example.com/token", False),
        ("error code 50058 at https://login.example.com/token", False),
        ("cannot open https://login.example.com/device: connection refused", False),
        ("exit code 3", False),
    ],
)
async def test_a_plugin_that_fails_at_once_is_run_again_unless_it_asked_a_person(
    tmp_path: Path, said: str, asks: bool
) -> None:
    starts, good, clock = tmp_path / "starts", tmp_path / "good", Clock()
    body = (
        f"echo start >> {starts}\nif ! test -e {good}; then echo '{said}' >&2; exit 1; fi\n"
        + plugin_script(tmp_path / "count", token="t")
    )
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), clock)
    for _ in range(3):
        with pytest.raises(CredentialsError):
            await manager.current()
    assert count_runs(starts) == 1, "there is a pause between two runs"
    good.touch()
    clock.now += 31
    assert await result_of_try(manager) is not asks
    assert count_runs(starts) == (1 if asks else 2)


async def test_pauses_between_failed_runs_grow_to_half_a_minute(tmp_path: Path) -> None:
    starts, clock = tmp_path / "starts", Clock()
    plugin = write_script(tmp_path / "plugin", f"echo start >> {starts}; exit 1")
    manager = make_manager(tmp_path, plugin, clock)
    runs_at: list[float] = []
    while len(runs_at) < 7:
        before = count_runs(starts)
        with pytest.raises(CredentialsError):
            await manager.current()
        if count_runs(starts) > before:
            runs_at.append(clock.now)
        clock.now += 1
    assert [b - a for a, b in itertools.pairwise(runs_at)] == [5, 10, 20, 30, 30, 30]


@pytest.mark.usefixtures("at_once")
async def test_a_slow_plugin_without_a_network_is_run_again(tmp_path: Path) -> None:
    end, clock = tmp_path / "end", Clock()
    starts = tmp_path / "starts"
    body = (
        f"echo start >> {starts}\nwhile ! test -e {end}; do sleep 0.05; done\n"
        "echo 'dial tcp: lookup idp.example.com: no such host' >&2; exit 1"
    )
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), clock)
    task = asyncio.create_task(manager.current())
    await wait_until(lambda: manager.notice)
    end.touch()
    with pytest.raises(CredentialsError):
        await with_timeout(task)
    clock.now += 6
    with pytest.raises(CredentialsError):
        await manager.current()
    assert count_runs(starts) == 2


@pytest.mark.usefixtures("at_once")
async def test_a_login_that_the_server_rejects_is_not_asked_for_again(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    gate, count = tmp_path / "gate", tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", waiting_script(count, "", gate))
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        request = asyncio.create_task(connection.get("/fine"))
        await wait_until(lambda: connection.login_notice)
        gate.touch()
        with pytest.raises(ApiError, match="does not accept the credentials"):
            await with_timeout(request)
        with pytest.raises(ApiError):
            await connection.get("/fine")
        assert not await result_of_try(connection._login.credentials)
        assert count_runs(count) == 1
        connection.reset_backoff()
        token_checking_api.accepted_tokens = {"t-2"}
        await connection.get("/fine")
    assert count_runs(count) == 2


async def rejected_login(manager: CredentialManager, gate: Path) -> Credential:
    """The credential of a person's login that the server rejected."""
    task = asyncio.create_task(manager.current())
    await wait_until(lambda: manager.notice)
    gate.touch()
    credential = await with_timeout(task)
    assert await manager.renew(credential) is None
    return credential


@pytest.mark.usefixtures("at_once")
async def test_a_rejected_login_that_expires_is_not_asked_for_again(tmp_path: Path) -> None:
    gate, count, clock = tmp_path / "gate", tmp_path / "count", Clock()
    expires = datetime(2030, 1, 1, 12, tzinfo=UTC)
    status = {"token": "t-RUN", "expirationTimestamp": expires.isoformat()}
    body = f"while ! test -e {gate}; do sleep 0.05; done\n" + plugin_script(count, **status)
    now = [expires - timedelta(hours=1)]
    plugin = write_script(tmp_path / "plugin", body)
    manager = make_manager(tmp_path, plugin, clock, lambda: now[0])
    rejected = await rejected_login(manager, gate)
    now[0] += timedelta(hours=2)
    clock.now += 7200
    assert await manager.current() == rejected, "the server says again that it rejects it"
    assert not await result_of_try(manager)
    assert count_runs(count) == 1
    manager.reset_backoff()
    assert (await manager.current()).authorization == "Bearer t-2"


async def test_a_login_that_the_server_accepts_after_all_may_be_renewed_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "NOTICE_SECONDS", 0.0)
    gate, count, clock = tmp_path / "gate", tmp_path / "count", Clock()
    body = f"while ! test -e {gate}; do sleep 0.05; done\n" + plugin_script(count, token="t")
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), clock)
    credential = await rejected_login(manager, gate)
    manager.accept(credential)
    monkeypatch.setattr(exec_plugin, "NOTICE_SECONDS", 3600.0)
    for runs in (2, 3):
        assert await manager.renew(credential) is None, "the plugin gives the same"
        assert count_runs(count) == runs
        clock.now += 3600


@pytest.mark.usefixtures("at_once")
async def test_a_retry_starts_a_plugin_that_waits_for_a_person_anew(tmp_path: Path) -> None:
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    body = f"echo $$ >> {starts}\n" + waiting_script(tmp_path / "count", "", gate)
    manager = make_manager(tmp_path, write_script(tmp_path / "plugin", body), Clock())
    task = asyncio.create_task(manager.current())
    await wait_until(lambda: count_runs(starts) == 1 and manager.notice)
    manager.reset_backoff()
    await wait_until(lambda: count_runs(starts) == 2)
    first = starts.read_text().split()[0]
    await wait_until(lambda: not Path(f"/proc/{first}").exists())
    gate.touch()
    assert (await with_timeout(task)).authorization == "Bearer t-1"


async def test_an_endless_plugin_is_ended(tmp_path: Path) -> None:
    for stream in ("", ">&2"):
        plugin = write_script(tmp_path / "plugin", f"yes {stream}")
        manager = make_manager(tmp_path, plugin, Clock())
        with pytest.raises(CredentialsError, match="wrote more than 64 MiB and was ended"):
            await with_timeout(manager.current())


@pytest.mark.parametrize("cut", range(0, 80, 8))
async def test_half_an_answer_is_a_one_line_error(tmp_path: Path, cut: int) -> None:
    answer = json.dumps({"apiVersion": API_VERSION, "status": {"token": "s3cr3t"}})
    plugin = write_script(tmp_path / "plugin", f"printf %s '{answer[:cut]}'")
    with pytest.raises(CredentialsError) as caught:
        await make_manager(tmp_path, plugin, Clock()).current()
    assert "did not write an ExecCredential" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_a_server_is_probed_without_a_login(
    token_checking_api: TokenCheckingServer, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    plugin = write_script(tmp_path / "plugin", plugin_script(count, token="t"))
    token_checking_api.add_route("/version", token_checking_api._check_token)
    async with connected_as(token_checking_api, tmp_path, make_exec_user(plugin)) as connection:
        await connection.probe(WAIT_SECONDS)  # a rejection is an answer
        assert token_checking_api.seen_tokens == [""]
        with pytest.raises(ApiError):
            await connection.get("/fine")
        runs = count_runs(count)
        await connection.probe(WAIT_SECONDS)
        assert (token_checking_api.seen_tokens[-1], count_runs(count)) == ("t", runs)
