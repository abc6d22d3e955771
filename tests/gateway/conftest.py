"""Fixtures for all tests of the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.valkey_server import ValkeyServer

StartValkey = Callable[..., ValkeyServer]
"""Arguments: those of ValkeyServer, without the folder."""


@pytest.fixture
def start_valkey(tmp_path: Path) -> Iterator[StartValkey]:
    """Starts servers that are closed after the test."""
    servers: list[ValkeyServer] = []

    def start(*options: str, **settings: Any) -> ValkeyServer:
        server = ValkeyServer(tmp_path / f"valkey{len(servers)}", *options, **settings)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def valkey_server(start_valkey: StartValkey) -> ValkeyServer:
    """An empty server with appendfsync always."""
    return start_valkey()
