"""docs/async-gateway.md: its commands work as they are written, its tables are complete."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from servedeck.async_queue.tasks import FailureReason, TaskState
from servedeck.cli_parser import build_parser
from servedeck.commands.gateway import read_settings
from servedeck.gateway.delivery.callbacks import sign
from servedeck.gateway.messages import GATEWAY_HEADERS
from servedeck.gateway.settings import GatewaySettings
from tests.gateway.process.rig import GatewayProcess, get_json
from tests.waiting import with_timeout

TEXT = (Path(__file__).parents[3] / "docs/async-gateway.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S)
SERVER, GATEWAY, *_ = BLOCKS
ON_VALKEY = next(one for one in BLOCKS if "gateway-secret" in one)
REQUESTS = [one for one in BLOCKS[2:] if one is not ON_VALKEY]


ROWS = [
    ([*re.findall(r"`(\w+)`", names)], [one for one in default.strip().split(", ") if one])
    for _, names, default, *_ in (
        line.split("|")
        for line in TEXT.partition("## Settings\n")[2].partition("\n## ")[0].splitlines()
        if line.startswith("| `")
    )
]
"""Names of settings and their defaults."""


def test_the_gateway_on_a_valkey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are made as they are written, and it accepts its settings."""
    *prepare, start = ON_VALKEY.rstrip("\n").splitlines()
    monkeypatch.chdir(tmp_path)
    subprocess.run(["bash", "-euc", "\n".join(prepare)], check=True, timeout=60)
    settings = read_settings(build_parser().parse_args(shlex.split(start)[1:]))
    assert settings.secret_file is not None
    assert len(settings.secret_file.read_bytes()) == 32
    assert settings.store == "valkey://127.0.0.1:6379"


def test_every_setting_is_documented() -> None:
    assert {name for names, _ in ROWS for name in names} == set(GatewaySettings.__struct_fields__)


def test_the_defaults_are_those_of_the_settings() -> None:
    settings = GatewaySettings(serving="a/b", upstreams=("http://a",))
    compared = 0
    for names, defaults in ROWS:
        for name, default in zip(names, defaults, strict=False):
            assert read_value(default) == getattr(settings, name), name
            compared += 1
    assert compared > 20


def read_value(text: str) -> str | float:
    """A default as the table has it, in the unit of the setting."""
    match = re.fullmatch(r"(\d+)(?: (KiB|MiB|h|days?))?", text)
    if match is None:
        return text.strip("`")
    unit = {"KiB": 1 << 10, "MiB": 1 << 20, "h": 3600, "day": 86400, "days": 86400, None: 1}
    return int(match[1]) * unit[match[2]]


def test_every_state_reason_and_header_is_documented() -> None:
    for one in (*TaskState, *FailureReason):
        assert f"| `{one}` |" in TEXT
    for header in GATEWAY_HEADERS - {"expect", "host", "content-length"}:
        assert header in TEXT.lower()


def test_the_check_of_a_signature_works() -> None:
    code = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)[0]
    names: dict[str, Any] = {}
    exec(code, names)
    headers = sign(b"old\nnew\n", "task_1", 1, b"{}")
    assert names["is_genuine"](b"new", headers, b"{}")
    assert not names["is_genuine"](b"new", headers, b"{ }")
    assert not names["is_genuine"](b"other", headers, b"{}")


def test_the_command_is_one() -> None:
    _, *arguments = shlex.split(GATEWAY.replace("\\\n", " "))
    settings = read_settings(build_parser().parse_args(arguments))
    assert settings.serving == "chat/llama"


@pytest.fixture
async def script(tmp_path: Path) -> AsyncIterator[str]:
    """What is to be run before a block: its URLs lead to a gateway and a server of this test."""
    code = SERVER.partition("<<'END'\n")[2].partition("END\n")[0]
    # a free port instead of 8000, and no waiting
    code = code.replace("time.sleep(1)", "pass").replace(
        "ThreadingHTTPServer(", "server = ThreadingHTTPServer("
    )
    code = code.replace(
        ", Handler).serve_forever()",
        ", Handler)\nprint(server.server_port, flush=True)\nserver.serve_forever()",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    port = (await with_timeout(process.stdout.readline())).decode().strip()
    gateway = GatewayProcess(tmp_path, upstreams=[f"http://127.0.0.1:{port}"])
    try:
        await gateway.start()
        yield f"{gateway.public_url} {gateway.admin_url}"
    finally:
        await gateway.close()
        process.kill()
        await process.wait()


async def test_the_commands_work_as_they_are_written(script: str, tmp_path: Path) -> None:
    public, admin = script.split()

    async def run(block: str) -> str:
        text = block.replace("http://127.0.0.1:8080", public)
        text = text.replace("http://127.0.0.1:8081", admin)
        text = text.replace("curl ", "curl -sS --fail --max-time 120 ")
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", text),
            cwd=tmp_path,
            env=os.environ | {"LC_ALL": "C"},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await with_timeout(process.communicate())
        assert process.returncode == 0, block
        return output.decode()

    submit, wait, both, follow, cancel, operate = REQUESTS
    accepted = json.loads(await run(submit))
    assert accepted["status"] == "pending"
    status, _, result = (await run(wait)).partition("}")
    assert accepted["id"] in status
    assert json.loads(result) == {"text": "One Two Three"}
    assert json.loads(await run(both)) == {"text": "One Two Three"}
    stream = await run(follow)
    assert [one for one in stream.splitlines() if one.startswith("data: ")] == [
        *(f'data: {{"text": "{word}"}}' for word in ("One", "Two", "Three")),
        "data: [DONE]",
    ]
    # paused, so that it cannot end before it is cancelled
    await run(f"curl -X POST {admin}/-/async/queue/pause")
    assert json.loads(await run(cancel))["status"] == "cancelled"
    assert '"state":"cancelled"' in (await run(operate)).splitlines()[-1]
    _, counts = await get_json(f"{public}/-/async/queue")
    assert counts.pop("recent") > 0
    assert counts == {"depth": 0, "processing": 0, "backlog": 0}
