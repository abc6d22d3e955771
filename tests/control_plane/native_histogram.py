"""A page with a native histogram: they are only read from pages in protobuf.

https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

CONTENT_TYPE = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)
SCHEMA = 3
"""Eight buckets for each power of two: bucket `index` ends at 2 ** (index / 8)."""
_HISTOGRAM = 4
"""MetricType.HISTOGRAM"""


def upper_bound(index: int) -> float:
    bound: float = 2 ** (index / 2**SCHEMA)
    return bound


def native_histogram(name: str, labels: Mapping[str, str], counts: Mapping[int, int]) -> bytes:
    """The page of one histogram, with the observations in each bucket by its index."""
    total = sum(counts.values())
    sums = sum(upper_bound(index) * count for index, count in counts.items())
    spans, deltas = b"", []
    end = previous = 0
    for index in sorted(counts):
        spans += _bytes(12, _number(1, _zigzag(index - end)) + _number(2, 1))
        deltas.append(_zigzag(counts[index] - previous))
        end, previous = index + 1, counts[index]
    histogram = (
        _number(1, total)
        + _double(2, sums)
        + _number(5, _zigzag(SCHEMA))
        + _double(6, 1e-128)
        + _number(7, 0)
        + spans
        + _bytes(13, _join(map(_varint, deltas)))
    )
    pairs = _join(
        _bytes(1, _bytes(1, key.encode()) + _bytes(2, value.encode()))
        for key, value in labels.items()
    )
    metric = pairs + _bytes(7, histogram)
    family = _bytes(1, name.encode()) + _number(3, _HISTOGRAM) + _bytes(4, metric)
    return _varint(len(family)) + family


def _join(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
