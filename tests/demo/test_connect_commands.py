"""What Connect copies is run as it stands, on the demo cluster: each line gets an answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.command_options import CommandOptions
from servedeck.demo.cluster import DemoCluster
from servedeck.fleet.session import ClusterSession
from servedeck.fleet.views import NamespacedName, ServingView
from tests.control_plane.processes import ReservedPort, find_binary
from tests.waiting import wait_until, with_timeout
from tui.screens.connect import ConnectItem, connect_items

KEY = NamespacedName("chat", "llama-31-8b")
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
PROXY_PORT = "18001"

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Shell:
    """Runs lines in another terminal of the operator, which has another current context."""

    def __init__(self, folder: Path, demo: DemoCluster) -> None:
        self._folder = folder
        self.options = CommandOptions.of("demo", (demo.kubeconfig,))
        more = {"LC_ALL": "C", "HOME": str(folder), "KUBECONFIG": "", "NO_PROXY": "*"}
        if kubectl := find_binary("kubectl"):
            more["PATH"] = f"{Path(kubectl).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | more

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )

    async def run(self, text: str) -> str:
        """The output of a line that is copied."""
        process = await self.start("bash", "-c", text)
        output, _ = await with_timeout(process.communicate())
        return output.decode()


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as running:
        running.clock.start()
        yield running


@pytest.fixture
def shell(tmp_path: Path, demo: DemoCluster) -> Shell:
    return Shell(tmp_path, demo)


async def view_of(demo: DemoCluster) -> ServingView:
    options = ConnectionOptions(kubeconfig=(demo.kubeconfig,), namespace=KEY.namespace)
    session = ClusterSession(options, tune_gc=False)
    await session.start()
    try:
        await wait_until(
            lambda: (view := session.fleet.view(KEY)) is not None and view.endpoint.url
        )
        view = session.fleet.view(KEY)
        assert view is not None
        return view
    finally:
        await session.close()


def named(items: list[ConnectItem]) -> dict[str, str]:
    return {one.name: one.text for one in items}


def answer_of(text: str) -> str:
    """What the model said in the JSON line of the output."""
    answer = json.loads(next(one for one in text.splitlines() if one.startswith("{")))
    assert answer["model"] == MODEL, text
    return str(answer["choices"][0]["message"]["content"])


async def test_a_request_through_the_api_server(demo: DemoCluster, shell: Shell) -> None:
    if find_binary("kubectl") is None:
        pytest.skip("kubectl is not installed")
    text = named(connect_items(await view_of(demo), shell.options))["proxy"]
    assert text.count(PROXY_PORT) == 2
    port = ReservedPort()
    try:
        output = await shell.run(text.replace(PROXY_PORT, str(port.number)))
    finally:
        port.close()
    assert 'You asked: "Hello"' in answer_of(output)


async def test_requests_through_a_port_forward(demo: DemoCluster, shell: Shell) -> None:
    view = await view_of(demo)
    words = ["port-forward", str(view.key), f":{view.endpoint.pod_port}"]
    process = await shell.start(sys.executable, "-m", "servedeck", *shell.options.words, *words)
    try:
        assert process.stdout is not None
        line = (await with_timeout(process.stdout.readline())).decode()
        found = re.search(r"127\.0\.0\.1:\d+", line)
        assert found, line
        texts = named(connect_items(view, shell.options, [f"http://{found[0]}"]))
        assert 'You asked: "Hello"' in answer_of(await shell.run(texts["forwarded"]))
        # On a real cluster the endpoint leads there.
        streamed = await shell.run(texts["stream"].replace(view.endpoint.url, f"http://{found[0]}"))
        parts = [one for one in streamed.splitlines() if one.startswith("data: ")]
        assert len(parts) > 3 and parts[-1] == "data: [DONE]"
        assert json.loads(parts[0].removeprefix("data: "))["object"] == "chat.completion.chunk"
    finally:
        process.terminate()
        await with_timeout(process.wait())
