"""An event stream, split anywhere on its way, is stored in whole events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.gateway.delivery import output_parts
from servedeck.gateway.delivery.output_parts import OutputParts
from tests.waiting import with_timeout

events = st.lists(
    st.tuples(
        st.sampled_from([b"data: 1", b"", b"event: x\ndata: y", b"data: a\r\ndata: b"]),
        st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]),
    ).map(b"".join),
    max_size=8,
)


class Stored:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    async def append_output(self, _id: str, _attempt: int, data: bytes) -> bool:
        self.parts.append(data)
        await asyncio.sleep(0)
        return True


@given(events, st.binary(max_size=5), st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_parts_are_whole_events(stream: list[bytes], rest: bytes, sizes: list[int]) -> None:
    whole = b"".join(stream) + rest
    store: Any = Stored()

    async def feed() -> None:
        parts = OutputParts(store, "id", 1, lambda: None)
        running = asyncio.create_task(parts.run())
        at = index = 0
        while at < len(whole):
            size = sizes[index % len(sizes)]
            parts.add(whole[at : at + size])
            at, index = at + size, index + 1
            await asyncio.sleep(0)
        parts.end()
        await with_timeout(running)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_parts, "_INTERVAL", 0)
        asyncio.run(feed())
    assert b"".join(store.parts) == whole
    assert all(one.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")) for one in store.parts[:-1])


async def test_a_lost_attempt_stores_no_more() -> None:
    class Fenced:
        calls = 0

        async def append_output(self, *_args: object) -> bool:
            self.calls += 1
            return False

    store: Any = Fenced()
    lost: list[int] = []
    parts = OutputParts(store, "id", 1, lambda: lost.append(1))
    parts.add(b"data: 1\n\n")
    await with_timeout(parts.run())
    assert (store.calls, lost) == (1, [1])
