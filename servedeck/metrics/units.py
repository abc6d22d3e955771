"""Units of metrics."""

from __future__ import annotations

from enum import StrEnum


class Unit(StrEnum):
    PER_SECOND = "req/s"
    TOKENS_PER_SECOND = "tokens/s"
    SECONDS = "s"
    PERCENT = "%"
    """The values are ratios: 0.5 is 50 %."""
    COUNT = ""
    BYTES = "bytes"
    CELSIUS = "°C"
    WATTS = "W"
    CORES = "cores"
