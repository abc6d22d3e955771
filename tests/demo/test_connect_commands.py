"""What Connect copies is run as it stands, on the demo cluster, by a shell: each line gets an
answer. Only the address in the cluster is for Pods alone."""

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
ASYNC_KEY = NamespacedName("npu-lab", "exaone-35-78b")
ROUTELESS_KEY = NamespacedName("research", "mistral-7b")
WITHOUT_MODEL_KEY = NamespacedName("vision", "table-ocr")
READY = (KEY, ASYNC_KEY, ROUTELESS_KEY, WITHOUT_MODEL_KEY, NamespacedName("search", "bge-m3"))
"""Servings that nothing happens to."""
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
PROXY_PORT, FORWARD_PORT = "18001", "8080"
"""Local ports of the copied lines, which tests replace by free ones."""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
needs_kubectl = pytest.mark.skipif(
    find_binary("kubectl") is None, reason="kubectl is not installed"
)


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
    async with DemoCluster(live=False, serves_endpoints=True) as running:
        running.clock.start()
        yield running


@pytest.fixture
def shell(tmp_path: Path, demo: DemoCluster) -> Shell:
    return Shell(tmp_path, demo)


async def views_of(demo: DemoCluster) -> dict[NamespacedName, ServingView]:
    """All servings, as soon as their endpoints are known."""
    options = ConnectionOptions(kubeconfig=(demo.kubeconfig,), all_namespaces=True)
    session = ClusterSession(options, tune_gc=False)
    await session.start()

    def is_known() -> bool:
        views = {one.key: one for one in session.fleet.views()}
        return (
            len(views) == 15
            and all(one.endpoint.url or key == ROUTELESS_KEY for key, one in views.items())
            and views[KEY].endpoint.url.startswith(demo.endpoints_url)
            and views[ASYNC_KEY].has_async_queue
            and all(views[key].ready for key in READY)
        )

    try:
        await wait_until(is_known, "the endpoints")
        return {one.key: one for one in session.fleet.views()}
    finally:
        await session.close()


async def view_of(demo: DemoCluster, key: NamespacedName = KEY) -> ServingView:
    return (await views_of(demo))[key]


def named(items: list[ConnectItem]) -> dict[str, str]:
    return {one.name: one.text for one in items}


def answer_of(text: str, model: str = MODEL) -> str:
    """What the model said in the JSON line of the output."""
    answer = json.loads(next(one for one in text.splitlines() if one.startswith("{")))
    assert answer["model"] == model, text
    return str(answer["choices"][0]["message"]["content"])


def check_stream(text: str) -> None:
    parts = [one for one in text.splitlines() if one.startswith("data: ")]
    assert len(parts) > 3 and parts[-1] == "data: [DONE]"
    assert json.loads(parts[0].removeprefix("data: "))["object"] == "chat.completion.chunk"


# -- through the endpoint -------------------------------------------------------------------------


async def test_requests_to_the_endpoint(demo: DemoCluster, shell: Shell) -> None:
    texts = named(connect_items(await view_of(demo), shell.options))
    assert texts["url"] == f"{demo.endpoints_url}/{KEY}"
    models = json.loads(await shell.run(f"curl -sS {texts['url']}/v1/models"))
    assert [one["id"] for one in models["data"]] == [MODEL]
    assert 'You asked: "Hello"' in answer_of(await shell.run(texts["curl"]))
    check_stream(await shell.run(texts["stream"]))
    # Its async queue is off, as the overlay says.
    assert 'You asked: "Hello"' in answer_of(await shell.run(texts["curl_async"]))
    assert texts["result"] == ""


async def test_servings_of_each_kind_answer_at_their_endpoints(
    demo: DemoCluster, shell: Shell
) -> None:
    views = await views_of(demo)
    for key in READY:
        if key != ROUTELESS_KEY:
            output = await shell.run(named(connect_items(views[key], shell.options))["curl"])
            assert json.loads(output).keys() & {"choices", "data", "status"}, output


async def test_an_asynchronous_request_and_its_result(demo: DemoCluster, shell: Shell) -> None:
    view = await view_of(demo, ASYNC_KEY)
    texts = named(connect_items(view, shell.options))
    accepted = json.loads(await shell.run(texts["curl_async"]))
    assert accepted["result_url"].startswith(f"/{ASYNC_KEY}/-/async/tasks/{accepted['id']}")
    output = await shell.run(texts["result"].replace("<id>", accepted["id"]))
    assert 'You asked: "Hello"' in answer_of(output, view.endpoint.model)


# -- past the endpoint ----------------------------------------------------------------------------


@needs_kubectl
async def test_a_request_through_the_api_server(demo: DemoCluster, shell: Shell) -> None:
    views = await views_of(demo)

    async def answer_for(key: NamespacedName) -> str:
        text = named(connect_items(views[key], shell.options))["proxy"]
        assert text.count(PROXY_PORT) == 2
        port = ReservedPort()
        try:
            return await shell.run(text.replace(PROXY_PORT, str(port.number)))
        finally:
            port.close()

    assert 'You asked: "Hello"' in answer_of(await answer_for(KEY))
    read = await answer_for(WITHOUT_MODEL_KEY)
    assert json.loads(read[read.index("{") :]) == {"status": "ok"}


@needs_kubectl
async def test_kubectl_port_forward_and_requests_through_it(
    demo: DemoCluster, shell: Shell
) -> None:
    """A serving without a route: the requests go to the port that kubectl forwards."""
    view = await view_of(demo, ROUTELESS_KEY)
    texts = named(connect_items(view, shell.options))
    assert texts["url"] == "" and f" {FORWARD_PORT}:" in texts["port_forward"]
    reserved = ReservedPort()
    own = {name: one.replace(FORWARD_PORT, str(reserved.number)) for name, one in texts.items()}
    process = await shell.start("bash", "-c", f"exec {own['port_forward']}")
    try:
        assert process.stdout is not None
        line = await with_timeout(process.stdout.readline())
        assert line.startswith(f"Forwarding from 127.0.0.1:{reserved.number}".encode()), line
        output = await shell.run(own["curl"])
        assert 'You asked: "Hello"' in answer_of(output, view.endpoint.model)
        check_stream(await shell.run(own["stream"]))
    finally:
        process.terminate()
        await with_timeout(process.wait())
        reserved.close()


async def test_requests_through_a_port_forward_of_servedeck(
    demo: DemoCluster, shell: Shell
) -> None:
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
    finally:
        process.terminate()
        await with_timeout(process.wait())


async def test_the_address_in_the_cluster_is_that_of_the_service(demo: DemoCluster) -> None:
    """No shell outside the cluster reaches it, on the demo as elsewhere."""
    view = await view_of(demo)
    [item] = [one for one in connect_items(view, CommandOptions()) if one.name == "address"]
    assert (item.title, item.text) == ("In-cluster address", "http://llama-31-8b.chat.svc:80")
