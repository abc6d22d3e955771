"""The feed of a gateway: server-sent events, as messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

import msgspec

from servedeck.async_queue.queue_api import (
    FeedChanges,
    FeedMessage,
    FeedReset,
    QueueChanged,
    StoreLost,
)
from servedeck.async_queue.tasks import FeedEvent, QueueStatus
from servedeck.cluster.http.errors import InvalidResponseError
from servedeck.cluster.http.stream import ResponseStream

_MAX_DATA_BYTES = 32 << 20
"""Of one event: the gateway sends 1,000 changes in one at most, about 150 KiB."""


class ServerSentEvent(NamedTuple):
    kind: str
    """"message" unless the event says otherwise."""
    data: bytes
    """b"" for one that has an id alone."""
    id: str
    """The last that was sent, in this event or before; "" without one."""


class _Reset(msgspec.Struct):
    feed: str


class _Lost(msgspec.Struct):
    message: str


class EventParser:
    """Parses lines (HTML Living Standard, section 9.2.6). Other than there, an event without data
    is given too if it has an id: the gateway says by it where the feed begins."""

    def __init__(self) -> None:
        self._kind = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._id = ""
        self._has_id = False

    def feed(self, lines: Sequence[bytes]) -> Iterator[ServerSentEvent]:
        """The events that these lines complete. Raises InvalidResponseError."""
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data or self._has_id:
                    yield ServerSentEvent(self._kind or "message", b"\n".join(self._data), self._id)
                self._kind, self._data, self._data_bytes, self._has_id = "", [], 0, False
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
                self._data_bytes += len(value)
                if self._data_bytes > _MAX_DATA_BYTES:
                    raise InvalidResponseError(
                        f"The feed sent an event longer than {_MAX_DATA_BYTES >> 20} MiB."
                    )
            elif name == b"event":
                self._kind = value.decode("utf-8", "replace")
            elif name == b"id" and b"\0" not in value:
                self._id, self._has_id = value.decode("utf-8", "replace"), True


_decode_events = msgspec.json.Decoder(list[FeedEvent]).decode
_decode_status = msgspec.json.Decoder(QueueStatus).decode


async def read_messages(stream: ResponseStream) -> AsyncIterator[FeedMessage]:
    """The messages until the stream ends. Events of other kinds are passed over. Raises
    InvalidResponseError, and what the stream raises."""
    parser = EventParser()
    async for lines in stream.line_batches():
        for event in parser.feed(lines):
            if (message := _to_message(event)) is not None:
                yield message


def _to_message(event: ServerSentEvent) -> FeedMessage | None:
    try:
        if event.kind == "message":
            return FeedChanges(_decode_events(event.data) if event.data else (), event.id)
        if event.kind == "reset":
            return FeedReset(msgspec.json.decode(event.data, type=_Reset).feed)
        if event.kind == "queue":
            return QueueChanged(_decode_status(event.data))
        if event.kind == "store":
            return StoreLost(msgspec.json.decode(event.data, type=_Lost).message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidResponseError(
            f"The feed sent an event that cannot be read: {error}"
        ) from error
    return None
