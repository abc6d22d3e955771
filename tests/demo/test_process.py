"""The demo as a process: it ends with its parent, even a killed one, and leaves no files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from servedeck.demo import cluster
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.errors import DemoError
from servedeck.demo.process import DemoProcess, spawn
from servedeck.demo.resources import DEPLOYMENTS, PODS
from servedeck.demo.runtime_files import RuntimeDirectory
from servedeck.demo.serve import serve
from tests.waiting import WAIT_SECONDS, wait_until, wait_until_sync

Json = dict[str, Any]
PARENT = """
import sys, time
from servedeck.demo.process import DemoProcess
demo = DemoProcess()
print(demo.pid, demo.kubeconfig(), flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes leftover files visible, and keeps other demos' files out of the tests."""
    found = tmp_path / "tmp"
    found.mkdir()
    monkeypatch.setenv("TMPDIR", str(found))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return found


def wait(condition: Callable[[], bool]) -> None:
    wait_until_sync(condition, "the condition")


def test_the_next_start_removes_the_files_of_killed_demos(own_temporary_directory: Path) -> None:
    young, old, foreign = (own_temporary_directory / f"servedeck-demo-{n}" for n in "abc")
    for path in (young, old):
        path.mkdir()
    os.utime(old, (1, 1))  # its demo was killed before it made the lock
    foreign.symlink_to(own_temporary_directory)
    dead = RuntimeDirectory()
    os.close(dead._lock)  # as the end of its process would
    living = RuntimeDirectory()
    assert set(own_temporary_directory.iterdir()) == {young, foreign, living.path}
    living.remove()


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def get(kubeconfig: Path, path: str, user: int = 0) -> Json:
    config = json.loads(kubeconfig.read_text())
    url = config["clusters"][user]["cluster"]["server"] + path
    with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as answer:
        found: Json = json.load(answer)
        return found


@contextlib.contextmanager
def parent() -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A process that has started a demo; (it, the demo's id, the kubeconfig)."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        pid, path = process.stdout.readline().decode().split()
        yield process, int(pid), Path(path)
    finally:
        process.kill()
        process.communicate()


def test_a_spawned_demo_serves_its_initial_state_and_leaves_nothing() -> None:
    with spawn() as kubeconfig:
        assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600
        assert stat.S_IMODE(kubeconfig.parent.stat().st_mode) == 0o700
        servings = get(kubeconfig, "/apis/apps/v1/deployments")["items"]
        assert len(servings) >= 12
        assert all(s["status"]["observedGeneration"] for s in servings)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(kubeconfig, "/api/v1/secrets", user=1)
    assert not kubeconfig.parent.exists()


def test_a_parent_that_is_killed_leaves_no_process_and_no_file(
    own_temporary_directory: Path,
) -> None:
    with parent() as (process, pid, kubeconfig):
        assert alive(pid) and kubeconfig.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait(lambda: not alive(pid))
        assert list(own_temporary_directory.iterdir()) == []


def test_a_parent_that_is_killed_while_the_demo_starts_leaves_nothing_either(
    own_temporary_directory: Path,
) -> None:
    script = (
        "import os; from servedeck.demo.process import DemoProcess;"
        "print(DemoProcess().pid, flush=True); os.kill(os.getpid(), 9)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.communicate()
    wait(lambda: not alive(pid))
    assert list(own_temporary_directory.iterdir()) == []


def test_a_demo_ends_when_its_pipe_is_closed() -> None:
    demo = DemoProcess()
    demo.kubeconfig()
    assert demo.exit_code is None
    demo.end()
    assert demo.exit_code == 0


def test_a_demo_whose_event_loop_hangs_ends_with_its_parent_too(
    own_temporary_directory: Path,
) -> None:
    # no process has the id 0: to this child its parent is dead
    code = (
        "import sys, time; from servedeck.demo import process;"
        "process._redirect_output = lambda log: (print('hangs', flush=True), time.sleep(3600));"
        "process.run_child([sys.argv[1], '0', '0', '1'])"
    )
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(reader)], stdout=subprocess.PIPE, pass_fds=(reader,)
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # the kubeconfig
        assert process.stdout.readline() == b"hangs\n"
        os.close(writer)
        assert process.wait(60) == 1
        assert list(own_temporary_directory.iterdir()) == []
    finally:
        process.kill()
        process.communicate()
        os.close(reader)


def test_a_demo_that_is_killed_itself_is_cleaned_up_by_its_parent(
    own_temporary_directory: Path,
) -> None:
    demo = DemoProcess()
    demo.kubeconfig()
    os.kill(demo.pid, signal.SIGKILL)
    demo.end()
    demo.end()
    assert list(own_temporary_directory.iterdir()) == []


def test_the_files_of_a_killed_pair_are_removed_by_the_next_demo(
    own_temporary_directory: Path,
) -> None:
    with parent() as (process, pid, kubeconfig), spawn() as other:
        psutil.Process(process.pid).suspend()
        os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        assert kubeconfig.exists()
        with spawn():
            assert not kubeconfig.parent.exists()
            assert other.exists(), "a demo that lives keeps its files"
    assert list(own_temporary_directory.iterdir()) == []


def test_two_demos_run_side_by_side() -> None:
    with spawn(seed=1) as one, spawn(seed=2) as two:
        names = [
            {pod["metadata"]["uid"] for pod in get(path, "/api/v1/pods")["items"]}
            for path in (one, two)
        ]
        assert names[0] and names[1] and not names[0] & names[1]
    assert not one.exists() and not two.exists()


def test_a_demo_that_cannot_start_reports_the_reason() -> None:
    demo = DemoProcess(seed=0, speed=-1.0)
    with pytest.raises(DemoError, match=r"did not start: .*positive number"):
        demo.kubeconfig()
    demo.end()


# -- in this process, and as a server ------------------------------------------------------------


async def test_the_cluster_resumes_from_a_saved_state(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    async with DemoCluster(state=state, live=False) as demo:
        demo.store.delete(DEPLOYMENTS, "search", "bge-m3")
        uids = {pod["metadata"]["uid"] for pod in demo.store.list(PODS, "chat")}
    assert state.exists()
    async with DemoCluster(state=state, live=False) as demo:
        assert demo.store.find(DEPLOYMENTS, "search", "bge-m3") is None
        assert {pod["metadata"]["uid"] for pod in demo.store.list(PODS, "chat")} == uids
        answer = get_in_thread(demo.kubeconfig, "/apis/apps/v1/namespaces/chat/deployments")
        assert len((await answer)["items"]) == 4


async def get_in_thread(kubeconfig: Path, path: str) -> Json:
    return await asyncio.to_thread(get, kubeconfig, path)


async def test_an_invalid_state_file_is_a_one_line_error(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("[]")
    with pytest.raises(DemoError, match="does not hold the state of a demo cluster"):
        await DemoCluster(state=state).__aenter__()


async def test_a_failed_save_is_reported_once_and_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "_SAVE_PERIOD_SECONDS", 0.01)
    state = tmp_path / "folder" / "state.json"
    state.parent.mkdir()
    tries: list[DemoCluster] = []

    def count(demo: DemoCluster) -> None:
        tries.append(demo)
        save(demo)

    save = DemoCluster.save
    monkeypatch.setattr(DemoCluster, "save", count)

    async with DemoCluster(state=state, live=False) as demo:
        await wait_until(state.exists)
        for pod in demo.store.list(PODS, "chat")[:2]:
            shutil.rmtree(state.parent)
            demo.store.delete(PODS, "chat", pod["metadata"]["name"])
            tries.clear()
            await wait_until(lambda: len(tries) >= 3)
            assert capfd.readouterr().err == (
                f"servedeck: Cannot save the demo's state to {state}: No such file or directory.\n"
            )
            state.parent.mkdir()
            await wait_until(state.exists)


async def test_a_failed_save_at_the_end_is_reported_and_all_else_is_cleaned_up(
    tmp_path: Path, own_temporary_directory: Path
) -> None:
    state = tmp_path / "folder" / "state.json"
    state.parent.mkdir()
    demo = DemoCluster(state=state, live=False)
    await demo.__aenter__()
    kubeconfig = demo.kubeconfig.read_text()
    shutil.rmtree(state.parent)
    with pytest.raises(DemoError, match=f"Cannot save the demo's state to {state}: No such file"):
        await demo.__aexit__(None, None, None)
    assert list(own_temporary_directory.iterdir()) == []
    address = urllib.parse.urlsplit(json.loads(kubeconfig)["clusters"][0]["cluster"]["server"])
    own = psutil.Process().net_connections("tcp")
    listening = {one.laddr.port for one in own if one.status == psutil.CONN_LISTEN}
    assert address.port not in listening


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70000}, "port must be between"),
        ({"speed": 0.0}, "speed must be above 0"),
        ({"state": "/nowhere/at/all.json"}, "The directory /nowhere/at"),
    ],
)
def test_serve_rejects_invalid_options(
    options: Json, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"port": 0, "state": None, "seed": 0, "speed": 1.0} | options
    assert serve(SimpleNamespace(**found)) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_serve_reports_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve(SimpleNamespace(port=port, state=None, seed=0, speed=1.0)) == 1
    assert f"Cannot listen on port {port}" in capsys.readouterr().err


@contextlib.contextmanager
def served(state: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`servedeck demo serve` as a process, and its kubeconfig."""
    script = (
        "import sys; from types import SimpleNamespace; from servedeck.demo.serve import serve;"
        f"sys.exit(serve(SimpleNamespace(port=0, state={str(state)!r}, seed=0, speed=1.0)))"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert re.fullmatch(
            rb"The demo cluster is available at http://127\.0\.0\.1:\d+ until you press ctrl\+c\. "
            rb"Its endpoints are at http://localhost:\d+/NAMESPACE/NAME\. In another terminal:\n",
            process.stdout.readline(),
        )
        export = process.stdout.readline().decode().strip()
        yield process, Path(export.removeprefix("export KUBECONFIG="))
    finally:
        process.kill()
        process.communicate()


def test_a_killed_server_has_saved_its_changes_and_released_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    with served(state) as (process, _):
        wait(state.exists)
        options = SimpleNamespace(port=0, state=str(state), seed=0, speed=1.0)
        assert serve(options) == 1
        error = capsys.readouterr().err
        assert f"Another demo uses the state file {state}" in error and error.count("\n") == 1
        process.kill()
        process.wait()
    with served(state) as (process, kubeconfig):
        assert get(kubeconfig, "/api/v1/namespaces/chat/pods")["items"]


async def test_a_state_is_saved_as_it_changes_and_locked_for_other_demos(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    other = tmp_path / "link.json"
    other.symlink_to(state)
    async with DemoCluster(state=state, live=False) as demo:
        for same in (state, other):
            with pytest.raises(DemoError, match="Another demo uses the state file"):
                await DemoCluster(state=same, live=False).__aenter__()
        demo.store.delete(DEPLOYMENTS, "search", "bge-m3")
        await wait_until(
            lambda: state.exists() and '"name": "bge-m3"' not in _deployments(state), "the change"
        )
    assert list(tmp_path.glob("*.lock")) == []


def _deployments(state: Path) -> str:
    return json.dumps(json.loads(state.read_text())["objects"][DEPLOYMENTS.key])


async def test_a_demo_that_does_not_start_releases_its_state_file(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("[]")
    with pytest.raises(DemoError, match="does not hold the state"):
        await DemoCluster(state=state).__aenter__()
    state.unlink()
    async with DemoCluster(state=state, live=False):
        pass


def test_serve_prints_its_kubeconfig_and_ends_at_a_signal(
    tmp_path: Path, own_temporary_directory: Path
) -> None:
    state = tmp_path / "state.json"
    with served(state) as (process, kubeconfig):
        assert get(kubeconfig, "/api/v1/namespaces/chat/pods")["items"]
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0
    assert state.exists()
    assert list(own_temporary_directory.iterdir()) == []
