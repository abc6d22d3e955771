"""Fixtures for tests of credentials."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster.auth.credential_fixtures import TokenCheckingServer
from tests.cluster.fake_api_server import serve


@pytest.fixture
async def token_checking_api() -> AsyncIterator[TokenCheckingServer]:
    api = TokenCheckingServer()
    async with serve(api):
        yield api
