"""What both stores hold to where they write together what waits."""

from __future__ import annotations

from collections.abc import Callable

CommitObserver = Callable[[int, float], None]
"""Is given, for each commit, how many items it had and how many seconds it took until all of them
were safe. Called in the event loop."""


def observe_nothing(_items: int, _seconds: float) -> None:
    """A CommitObserver."""


BATCH_INTERVAL_SECONDS = 0.004
"""From the begin of a batch of more than one item to that of the next: at 1,500 items a second each
would else be a batch of its own, for twice the work in the gateway and in the store. What comes
alone, or one after the other, does not wait."""

ENOUGH_ITEMS = 16
"""That many do not wait for more."""
