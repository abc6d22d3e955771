"""Fixture: a gateway on a store of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.delivery.gateway import Gateway, MakeGateway


@pytest.fixture
async def make_gateway(tmp_path: Path) -> AsyncIterator[MakeGateway]:
    made: list[Gateway] = []

    async def make(url: str, **settings: Any) -> Gateway:
        gateway = Gateway(tmp_path, url, **settings)
        await gateway.store.open()
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        await gateway.store.close()
