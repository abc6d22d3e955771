"""The stores that the tests in this folder run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.gateway.stores.store import TaskStore
from tests.gateway.stores.cases import SqliteCase, StoreCase, ValkeyCase


@pytest.fixture(params=["sqlite", "valkey"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreCase]:
    case: StoreCase
    if request.param == "sqlite":
        case = SqliteCase(tmp_path / "tasks.db")
    else:
        pytest.importorskip("tests.gateway.valkey_server", exc_type=ImportError)
        case = ValkeyCase(request.getfixturevalue("valkey_server").url)
    await case.store.open()
    yield case
    await case.close()


@pytest.fixture
def store(case: StoreCase) -> TaskStore:
    return case.store


@pytest.fixture
async def sqlite_case(tmp_path: Path) -> AsyncIterator[SqliteCase]:
    case = SqliteCase(tmp_path / "tasks.db")
    await case.store.open()
    yield case
    await case.close()
