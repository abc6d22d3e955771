"""A thread that does what it is given, all that waits together."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from servedeck.gateway.stores.group_commit import ENOUGH_ITEMS
from servedeck.gateway.stores.store import StoreUnavailableError


@dataclass(eq=False)
class Item:
    operation: Callable[[Any], Any]
    future: asyncio.Future[Any]
    is_submit: bool = False
    result: Any = None
    error: BaseException | None = None


class WorkerThread:
    """A thread that is given lists of items; a list is gathered while the one before is done."""

    def __init__(
        self, name: str, run: Callable[[list[Item]], None], most: int, interval: float = 0.0
    ) -> None:
        """`interval`: seconds from the begin of a list of more than one item to that of the next,
        unless enough of them wait."""
        self._run = run
        self._most = most
        self._interval = interval
        self._items: list[Item] = []
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        with self._changed:
            if self._is_closed:
                raise StoreUnavailableError("The store is closed.")
            self._items.append(item)
            if len(self._items) in (1, ENOUGH_ITEMS):
                self._changed.notify()

    def stop(self) -> None:
        """Returns when what was put has been done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        not_before = -math.inf
        while True:
            with self._changed:
                while not self._items:
                    if self._is_closed:
                        return
                    self._changed.wait()
                while len(self._items) < ENOUGH_ITEMS and not self._is_closed:
                    early = not_before - monotonic()
                    if early <= 0:
                        break
                    self._changed.wait(early)
                batch, self._items = self._items[: self._most], self._items[self._most :]
            not_before = monotonic() + self._interval if len(batch) > 1 else -math.inf
            self._run(batch)
