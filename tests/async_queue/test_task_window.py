"""Cursors of the feed of tasks."""

from __future__ import annotations

import pytest

from servedeck.async_queue.task_window import feed_order


@pytest.mark.parametrize(
    ("cursor", "order"),
    [("12-3", (12, 3)), ("7", (7,)), ("", ()), ("a-b", ()), ("9" * 5000, (int("9" * 100),))],
)
def test_a_cursor_has_an_order_whatever_a_gateway_sends(
    cursor: str, order: tuple[int, ...]
) -> None:
    assert feed_order(cursor) == order
