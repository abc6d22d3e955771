"""How long what is to be written waits for more, so that it is written together."""

from __future__ import annotations

BATCH_INTERVAL_SECONDS = 0.004
"""From the begin of a batch of more than one item to that of the next: at 1,500 items a second each
would else be a batch of its own, for twice the work in the gateway and in the store. What comes
alone, or one after the other, does not wait."""

ENOUGH_ITEMS = 16
"""That many do not wait for more."""
