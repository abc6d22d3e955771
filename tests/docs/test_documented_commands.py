"""The commands of README and docs work as they are written, on the demo cluster."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread

import pytest
import yaml

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.demo.cluster import DemoCluster
from tests.control_plane.processes import ReservedPort, find_binary
from tests.docs.documented_commands import PAGES, ROOT, Command, Shell, read_commands
from tests.waiting import WAIT_SECONDS

TESTED_ELSEWHERE = {"async-gateway.md", "tasks.md"}
"""Pages with a test of their own, which also looks at what the commands print."""
NOT_RUN = {  # by what they begin with
    "make demo": "the demo is what the others run on",
    "make test": "it would run this test",
    "pipx install .": "it would install servedeck for the user",
    "servedeck gateway --config gateway.yaml": "its file is made on the gateway's page",
    "kubectl create namespace servedeck-system": "part of an installation with one's own image",
    "kubectl apply -k .": "part of an installation with one's own image",
    "helm install": "another program, and what it installs comes from the network",
    "kubectl -n servedeck-system rollout status deployment servedeck-controller": "the same",
}
UNTIL_CTRL_C = re.compile(
    r"^servedeck (controller|port-forward|demo serve)\b"
    r"|^servedeck .* (-f|--watch)( |$)(?!\S+\.yaml)"
)
"""They run in another terminal until the end of the page."""
CONTEXT = "prod"
"""A name of a context that the pages use."""


async def pause_autoscaling(demo: DemoCluster) -> None:
    """A Pod that was added a moment ago has no log yet, for example."""
    connection = await Connection.open(ConnectionOptions(kubeconfig=(demo.kubeconfig,)))
    body = {"metadata": {"annotations": {"autoscaling.keda.sh/paused": "true"}}}
    path = "/apis/keda.sh/v1alpha1/namespaces/chat/scaledobjects/llama-31-8b"
    await connection.request("PATCH", path, body=body, content_type="application/merge-patch+json")
    await connection.close()


@contextmanager
def running_demo() -> Iterator[Path]:
    """A demo cluster in which nothing happens by chance; yields its kubeconfig. It is 20 times as
    fast as a real one: a rollout takes minutes there."""
    started: Queue[tuple[Path, Callable[[], object]]] = Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with DemoCluster(live=False, speed=20.0) as demo:
            demo.clock.start()
            await pause_autoscaling(demo)
            loop = asyncio.get_running_loop()
            started.put((demo.kubeconfig, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    thread = Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    file, stop = started.get(timeout=WAIT_SECONDS)
    try:
        yield file
    finally:
        stop()
        thread.join()


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """That of the demo, with a second name for its context."""
    with running_demo() as file:
        known = yaml.safe_load(file.read_text())
        current = next(
            one["context"] for one in known["contexts"] if one["name"] == known["current-context"]
        )
        known["contexts"].append({"name": CONTEXT, "context": current})
        (tmp_path / "kubeconfig").write_text(json.dumps(known))
        yield tmp_path / "kubeconfig"


@pytest.fixture
def environment(tmp_path: Path, kubeconfig: Path) -> dict[str, str]:
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "servedeck").write_text(f'#!/bin/sh\nexec {sys.executable} -m servedeck "$@"\n')
    (programs / "servedeck").chmod(0o755)
    if kubectl := find_binary("kubectl"):
        (programs / "kubectl").symlink_to(kubectl)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "KUBECONFIG": str(kubeconfig),
    }


class FreePorts:
    """Local ports that nobody else uses, in place of those of the page; each forward gets one of
    its own, since it runs until the end of the page."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends
        self._latest: dict[str, str] = {}

    def put_into(self, text: str) -> str:
        if text.startswith("servedeck controller"):
            return f"{text} --port 0"
        text = re.sub(r"(?<= port-forward )(\S+) (\d+)(?= --async)", self._reserve, text)
        text = re.sub(r"(?<= port-forward )(\S+) (\d+)(?=:\d+$)", self._reserve, text)
        local = re.compile(r"(?<=http://127\.0\.0\.1:)\d+")
        return local.sub(lambda found: self._latest.get(found[0], found[0]), text)

    def _reserve(self, found: re.Match[str]) -> str:
        port = ReservedPort()
        self._ends.callback(port.close)
        self._latest[found[2]] = str(port.number)
        remote = "" if found.string[found.end() :].startswith(":") else f":{found[2]}"
        return f"{found[1]} {port.number}{remote}"


def commands_to_run(page: Path) -> list[Command]:
    found = [*read_commands(page)]
    if page.name == "demo.md":  # tests/demo/test_documentation.py has those of the gateway
        found = [one for one in found if one.text.startswith("servedeck demo serve")]
    return [one for one in found if not one.text.startswith(tuple(NOT_RUN))]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "page",
    [one for one in PAGES if one.name not in TESTED_ELSEWHERE and commands_to_run(one)],
    ids=lambda one: one.name,
)
def test_the_commands_of_a_page(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    commands = commands_to_run(page)
    if shutil.which("jq", path=environment["PATH"]) is None:
        commands = [one for one in commands if "jq" not in one.text.split()]
    uses_kubectl = any("kubectl" in one.text.split() for one in commands)
    if uses_kubectl and shutil.which("kubectl", path=environment["PATH"]) is None:
        pytest.skip("kubectl is not installed")
    folder = tmp_path / "work"
    folder.mkdir()
    with ExitStack() as ends:
        ports = FreePorts(ends)
        shell = Shell(environment, folder)
        ends.callback(shell.close)
        others: list[tuple[Command, Shell]] = []
        for command in commands:
            text = ports.put_into(command.text)
            if UNTIL_CTRL_C.search(text):
                other = Shell(environment, folder)
                ends.callback(other.close)
                other.start(text)
                others.append((command, other))
            else:
                status, output = shell.run(text)
                assert status == 0 and "Traceback" not in output, f"{command}\n{output}"
        for command, other in others:
            status, output = other.interrupt()
            assert status in (0, 130) and "Traceback" not in output, f"{command}\n{output}"


def test_every_command_that_is_not_run_is_in_a_page() -> None:
    texts = [one.text for page in PAGES for one in read_commands(page)]
    assert [one for one in NOT_RUN if not any(text.startswith(one) for text in texts)] == []
