"""Fixtures for tests of reflectors."""

from __future__ import annotations

import asyncio

import pytest

from servedeck.cluster.watch.reflector import (
    Reflector,
)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays of reflectors between attempts in seconds; none of them is actually waited for."""
    seconds: list[float] = []

    async def pause(_: Reflector, wait: float) -> None:
        seconds.append(wait)
        await asyncio.sleep(0)

    monkeypatch.setattr(Reflector, "_wait_before_retry", pause)
    return seconds
