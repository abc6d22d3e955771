"""Quantiles of histograms.

Source: promql/quantile.go of Prometheus (BucketQuantile, ensureMonotonicAndIgnoreSmallDeltas).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

from servedeck.promql.samples import Labels
from servedeck.promql.vectors import Scalar, Values, Vector, VectorSeries, divide

_TOLERANCE = 1e-12
"""A relative difference between two buckets that is one of rounding."""
_SMALLEST_NORMAL = 2.0**-1022
_BOUND = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)", re.ASCII | re.IGNORECASE
)


def histogram_quantile(shares: Scalar, vector: Vector) -> Vector:
    """The quantiles of the histograms whose buckets have the label `le`, at each time. Series
    without it, or with one that is no number, do not count."""
    histograms: dict[Labels, dict[float, Values]] = {}
    for _name, labels, values in vector:
        rest, bound = _split_bound(labels)
        if bound is None:
            continue
        buckets = histograms.setdefault(rest, {})
        known = buckets.get(bound)
        buckets[bound] = values if known is None else _add(known, values)
    return [
        VectorSeries("", labels, _quantiles(shares, buckets))
        for labels, buckets in histograms.items()
    ]


@lru_cache(maxsize=1 << 12)
def _split_bound(labels: Labels) -> tuple[Labels, float | None]:
    """The other labels, and the upper bound of a bucket: None for none."""
    rest = tuple(pair for pair in labels if pair[0] != "le")
    text = dict(labels).get("le", "")
    return rest, float(text) if _BOUND.fullmatch(text) else None


def _add(left: Values, right: Values) -> Values:
    """Buckets of one bound, "1" and "1.0", are one."""
    return [
        other if one is None else one if other is None else one + other
        for one, other in zip(left, right, strict=True)
    ]


def _quantiles(shares: Scalar, buckets: dict[float, Values]) -> Values:
    bounds = sorted(buckets)
    columns = zip(*(buckets[bound] for bound in bounds), strict=True)
    result: Values = []
    for share, column in zip(shares, columns, strict=True):
        if None in column:
            present = [one for one in zip(bounds, column, strict=True) if one[1] is not None]
            if not present:
                result.append(None)
                continue
            result.append(
                bucket_quantile(share, [one[0] for one in present], [one[1] for one in present])
            )
        else:
            result.append(bucket_quantile(share, bounds, column))
    return result


def bucket_quantile(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float:
    """A quantile, 0 to 1, of a histogram by linear interpolation.

    `bounds` are the upper bounds of its buckets, increasing, at least one; `counts` those of the
    observations up to each. NaN without observations, or without the bucket of all; the bound of
    the last but one if it is above that.
    """
    if share != share:
        return math.nan
    if not 0 <= share <= 1:
        return math.copysign(math.inf, share)
    if bounds[-1] != math.inf or len(bounds) < 2:
        return math.nan
    fixed = _make_increasing(counts)
    if fixed[-1] == 0:
        return math.nan
    rank, last = share * fixed[-1], len(fixed) - 1
    at = _first_with(fixed, rank, last)
    if at == last:
        return bounds[-2]
    if at == 0:
        return bounds[0] if bounds[0] <= 0 else bounds[0] * divide(rank, fixed[0])
    start, below = bounds[at - 1], fixed[at - 1]
    return start + (bounds[at] - start) * divide(rank - below, fixed[at] - below)


def _first_with(counts: Sequence[float], rank: float, end: int) -> int:
    """The first of the buckets before `end` that has so many; `end` for none. `bisect` would find
    another one with NaN than Go's sort.Search."""
    low = 0
    while low < end:
        middle = (low + end) // 2
        if counts[middle] >= rank:
            end = middle
        else:
            low = middle + 1
    return low


def _make_increasing(counts: Sequence[float]) -> Sequence[float]:
    """Counts of which none is smaller than the one before, nor larger by an error of rounding."""
    fixed = [counts[0]]
    before = counts[0]
    for count in counts[1:]:
        if count != before and not (count < before or _is_almost_equal(before, count)):
            before = count
        fixed.append(before)
    return fixed


def _is_almost_equal(one: float, other: float) -> bool:
    """Source: util/almost/almost.go of Prometheus."""
    if one == other or (one != one and other != other):
        return True
    total, difference = abs(one) + abs(other), abs(one - other)
    if one == 0 or other == 0 or total < _SMALLEST_NORMAL:
        return difference < _TOLERANCE * _SMALLEST_NORMAL
    return difference / min(total, 1.7976931348623157e308) < _TOLERANCE
