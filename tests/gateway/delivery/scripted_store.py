"""The SQLite store, which a test can take away, and whose time it can set forward."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import StoreUnavailableError

_METHODS = [
    "claim",
    "beat",
    "release",
    "finish",
    "retry",
    "append_output",
    "sweep",
    "report",
    "claim_callbacks",
    "settle_callback",
    "find",
    "read_outputs",
    "read_response",
    "feed_end",
    "read_feed",
    "control",
]


class ScriptedStore(SqliteStore):
    def __init__(self, path: Path) -> None:
        self.shift = 0.0
        """Seconds by which its clock is ahead."""
        super().__init__(path, clock=lambda: time.time() + self.shift)
        self.is_away = False
        """All calls fail, and do nothing."""
        self.lost_answers: set[str] = set()
        """Methods whose next call is done, but fails."""
        self.calls: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.before: dict[str, Callable[[], Any]] = {}
        """What to await before a method is called."""
        self.claim_limits: list[int] = []
        self.beats: set[tuple[str, int]] = set()


def _script(name: str) -> Callable[..., Any]:
    async def method(self: ScriptedStore, *args: Any, **kwargs: Any) -> Any:
        self.calls[name] += 1
        if name == "claim":
            self.claim_limits.append(kwargs["limit"])
        if name == "beat":
            self.beats.update(args[0])
        if name in self.before:
            await self.before[name]()
        if self.is_away:
            self.failures[name] += 1
            raise StoreUnavailableError("It is away.")
        result = await getattr(SqliteStore, name)(self, *args, **kwargs)
        if name in self.lost_answers:
            self.lost_answers.discard(name)
            self.failures[name] += 1
            raise StoreUnavailableError("Its answer was lost.")
        return result

    return method


for _name in _METHODS:
    setattr(ScriptedStore, _name, _script(_name))
