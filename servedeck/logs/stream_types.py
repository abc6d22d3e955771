"""Settings and states of the streams of logs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class LogConfig:
    """Times in seconds."""

    read_timeout: float = 60.0
    """Time without data after which the connection is replaced and the log resumed."""
    poll_delay: tuple[float, float] = (0.5, 5.0)
    """Initial and maximum delay before an attempt; the first one after an interruption is made at
    once."""
    confirm_delay: float = 1.0
    """Time after which the Pod is read again where it is in doubt of which instance a log is: the
    kubelet knows of a restart before the API server does."""
    window: float = 0.15
    """Time that a new line waits for earlier ones of other streams."""


class StreamStatus(Enum):
    """What a stream does."""

    QUEUED = "queued"
    """As many streams are open as may be."""
    CONNECTING = "connecting"
    OPEN = "open"
    """Lines arrive as they are written."""
    WAITING = "waiting"
    """The container is not running; its next start is awaited."""
    RECONNECTING = "reconnecting"
    """The connection was lost; lines that were missed will follow."""
    DONE = "done"
    """No more lines follow."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class StreamStart:
    """Where the log of an instance is begun: at its last lines, at a time, or at its begin."""

    tail: int | None = None
    since: bytes = b""
    """A second, as in a timestamp."""


WHOLE_LOG = StreamStart()
