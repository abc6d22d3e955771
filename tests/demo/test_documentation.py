"""docs/demo.md: the commands for requests work as they are written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.demo.cluster import DemoCluster
from tests.control_plane.processes import find_binary
from tests.waiting import with_timeout

PAGE = (Path(__file__).parents[2] / "docs/demo.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Asynchronous requests\n")[2].partition("\n## ")[0]
FORWARD, SUBMIT, FETCH, FOLLOW, PROXY = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S)


(RAW,) = re.findall(
    r"^```sh\n(kubectl get --raw .*?)^```$", PAGE.partition("\n## Asynch")[0], re.M | re.S
)
(ENDPOINT,) = re.findall(r"^```sh\n(port=.*?)^```$", PAGE, re.M | re.S)


class Terminal:
    """Runs blocks of commands one after the other, with a free port in place of 8080."""

    def __init__(self, folder: Path, demo: DemoCluster) -> None:
        self._folder = folder
        more = {"LC_ALL": "C", "HOME": str(folder), "KUBECONFIG": str(demo.kubeconfig)}
        self._environment = os.environ | more
        self.address = ""

    async def start(self, *command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command, cwd=self._folder, env=self._environment, stdout=asyncio.subprocess.PIPE
        )

    async def run(self, block: str) -> str:
        text = block.replace("http://127.0.0.1:8080", f"http://{self.address}")
        text = text.replace("curl ", "curl -sS --fail --max-time 120 ")
        process = await self.start("bash", "-euo", "pipefail", "-c", text)
        output, _ = await with_timeout(process.communicate())
        assert process.returncode == 0, block
        return output.decode()


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    async with DemoCluster(live=False) as demo:
        demo.clock.start()
        terminal = Terminal(tmp_path, demo)
        program, *words = shlex.split(FORWARD)
        assert program == "servedeck"
        words[words.index("8080")] = ":8080"
        forward = await terminal.start(sys.executable, "-m", "servedeck", *words)
        try:
            assert forward.stdout is not None
            line = (await with_timeout(forward.stdout.readline())).decode()
            assert line.startswith("Forwarding 127.0.0.1:"), line
            terminal.address = line.split()[1]
            yield terminal
        finally:
            with contextlib.suppress(ProcessLookupError):
                forward.terminate()
            await forward.wait()


async def test_a_request_is_submitted_and_fetched_and_a_stream_followed(
    terminal: Terminal,
) -> None:
    accepted = json.loads(await terminal.run(SUBMIT))
    assert accepted["status"] == "pending"
    assert accepted["id"] in accepted["status_url"]
    result = json.loads(await terminal.run(FETCH))
    assert result["object"] == "chat.completion"
    assert 'You asked: "Hello"' in result["choices"][0]["message"]["content"]
    stream = await terminal.run(FOLLOW)
    data = [one for one in stream.splitlines() if one.startswith("data: ")]
    assert len(data) > 5 and data[-1] == "data: [DONE]"


async def test_the_proxy_leads_to_both_services(terminal: Terminal) -> None:
    kubectl = find_binary("kubectl") or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    await terminal.run(SUBMIT)
    await terminal.run(FETCH)
    text = PROXY.replace("kubectl ", f"{shlex.quote(str(kubectl))} ")
    queue, page = re.findall(r"{.*}", (await terminal.run(text)).replace("}{", "}\n{"))
    assert json.loads(queue)["backlog"] == 0
    assert [one["state"] for one in json.loads(page)["items"]] == ["completed"]


RAW_SENDS_TOKEN = 36
"""Minor version of a kubectl that does; 1.32 does not."""


async def minor_version(kubectl: str) -> int:
    arguments = ("version", "--client", "--output=json")
    process = await asyncio.create_subprocess_exec(
        kubectl, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await with_timeout(process.communicate())
    return int(re.sub(r"\D", "", json.loads(output)["clientVersion"]["minor"]))


async def test_kubectl_sends_a_path_as_it_is_written(tmp_path: Path) -> None:
    kubectl = find_binary("kubectl") or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    if await minor_version(str(kubectl)) < RAW_SENDS_TOKEN:
        pytest.skip("this kubectl sends no token to an http address with --raw")
    async with DemoCluster(live=False) as demo:
        text = RAW.replace("kubectl ", f"{shlex.quote(str(kubectl))} ")
        found = json.loads(await Terminal(tmp_path, demo).run(text))
        assert found["kind"] == "PodList"
        assert {one["metadata"]["namespace"] for one in found["items"]} == {"chat"}


async def test_the_endpoints_are_at_the_port_of_the_listener(tmp_path: Path) -> None:
    kubectl = find_binary("kubectl") or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    async with DemoCluster(live=False, serves_endpoints=True) as demo:
        text = ENDPOINT.replace("kubectl ", f"{shlex.quote(str(kubectl))} ")
        found = json.loads(await Terminal(tmp_path, demo).run(text))
        assert found["data"][0]["id"] == "meta-llama/Llama-3.1-8B-Instruct"
