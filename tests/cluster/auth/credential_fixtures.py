"""A server that checks tokens, and scripts as credential plugins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from servedeck.cluster.http.connection import Connection
from tests.cluster.fake_api_server import FakeApiServer, open_connection, write_kubeconfig

API_VERSION = "client.authentication.k8s.io/v1"
FAR_FUTURE = "2999-01-01T00:00:00Z"


def write_script(file: Path, body: str) -> Path:
    """Write an executable shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def plugin_script(count_file: Path, **status: Any) -> str:
    """Body of a plugin that counts its runs in a file and prints an ExecCredential. RUN is
    replaced by the run number."""
    answer = json.dumps({"apiVersion": API_VERSION, "kind": "ExecCredential", "status": status})
    return (
        f"echo run >> {count_file}\nRUN=$(wc -l < {count_file} | tr -d ' ')\n"
        f"cat <<END | sed s/RUN/$RUN/\n{answer}\nEND"
    )


def make_exec_user(command: object, **more: Any) -> dict[str, Any]:
    return {"exec": {"apiVersion": API_VERSION, "command": str(command), **more}}


class TokenCheckingServer(FakeApiServer):
    """Accepts only the tokens in `accepted_tokens`."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted_tokens: set[str] = set()
        self.seen_tokens: list[str] = []
        self.add_route("/fine", self._check_token)

    async def _check_token(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.seen_tokens.append(token)
        code = 200 if token in self.accepted_tokens else 401
        return web.json_response({"code": code}, status=code)


@asynccontextmanager
async def connected_as(
    api: FakeApiServer, tmp_path: Path, user: dict[str, Any], **cluster: Any
) -> AsyncIterator[Connection]:
    connection = await open_connection(
        write_kubeconfig(tmp_path / "config", api.url, user, **cluster)
    )
    try:
        yield connection
    finally:
        await connection.close()


def count_runs(count_file: Path) -> int:
    return len(count_file.read_text().splitlines()) if count_file.exists() else 0
