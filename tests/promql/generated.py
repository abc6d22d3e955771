"""Generated series, the same for the same seed: counters that are reset, with gaps, and histograms
that are not as they should be; and expressions of them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from servedeck.promql.expressions import Matcher
from servedeck.promql.matching import compile_matchers
from servedeck.promql.samples import STALE, Labels, SampleSeries

BOUNDS = (
    ("0.1", "0.5", "1.0", "2.5", "+Inf"),
    ("1", "2", "3", "4", "8", "16", "+Inf"),
    ("0", "10", "+Inf"),
    ("-2", "-1", "0.5", "+Inf"),
    ("-3", "-1", "+Inf"),
    ("+Inf",),
    ("0.1", "1"),
    ("1", "1.0", "1e0", "2", "+Inf"),
    ("1", "oops", "", "2", "+Inf"),
)

RANGES = [
    "rate(c[{w}])",
    "increase(c[{w}])",
    "irate(c[{w}])",
    "rate(c[{w}] offset 1m)",
    "sum by (case, le) (rate(h_bucket[{w}]))",
    "histogram_quantile(0.37, sum by (case, le) (rate(h_bucket[{w}])))",
    "histogram_quantile(0.9, rate(h_bucket[{w}]))",
    "histogram_quantile(0.99, sum by (case, le) (increase(h_bucket[{w}])))",
]
"""Those that extrapolate; the others do not."""
OVER_TIME = [
    f"{name}_over_time(g[{{w}}])" for name in ("avg", "count", "last", "max", "min", "sum")
]
INSTANTS = [
    "c",
    "g offset 2m",
    '{__name__=~"g|d",parity!="1"}',
    "histogram_quantile(0.5, h_bucket)",
    "histogram_quantile(0, h_bucket)",
    "histogram_quantile(1, sum by (case, le) (h_bucket))",
    "histogram_quantile(1.5, h_bucket)",
    "histogram_quantile(-0.5, h_bucket)",
    "histogram_quantile(NaN, h_bucket)",
    "g + d",
    "g - d",
    "g * d",
    "g / d",
    "g / 0",
    "1 / g",
    "-g",
    "g > d",
    "g <= d",
    "g != d",
    "g == 2",
    "0 > g",
    "g > 1 and d",
    "g unless d",
    "d or g",
    "(g or d) / 2",
    "sum(g > -100)",
    "sum by (parity) (c)",
    "min(g)",
    "max by (parity) (g)",
    "avg by (parity) (c)",
    "count by (parity, absent) (g)",
    "count by (__name__) (g)",
    "abs(g)",
    "clamp_min(g, 1)",
    "clamp_max(g, -1)",
    'scalar(g{case="1"})',
    "scalar(g)",
    "vector(3) + 2",
    "time() * 2",
    "g * 0 + time()",
    "timestamp(g)",
    "timestamp(g + 1) - timestamp(g)",
    "2 + 3 * 4 - 6 / 4",
    "sum(d) / count(g)",
    'label_replace(g, "to", "$1-${2}-$$-$3-$x", "case", "(.)(.*)")',
    'label_replace(g, "to", "$1x", "case", "(.)")',
    'label_replace(g, "parity", "", "parity", "1")',
    'label_replace(g, "__name__", "h", "__name__", "g")',
    'label_replace(g, "to", "x", "", "")',
    'sum by (to) (label_replace(c, "to", "$first", "parity", "(?P<first>[0-9])"))',
    'label_replace(sum(c), "to", "a", "", "") or label_replace(sum(g), "to", "b", "", "")',
]


@dataclass
class GeneratedSeries:
    name: str
    labels: dict[str, str]
    values: list[float | None]
    """One for each interval from 0 on; None where there is no sample, STALE where it has ended."""


@dataclass
class GeneratedSource:
    """The series with a sample each `interval` seconds. A `SampleSource`."""

    interval: int
    series: list[GeneratedSeries] = field(default_factory=list)

    def select(
        self, name: str, matchers: Sequence[Matcher], start: float, end: float
    ) -> Iterator[SampleSeries]:
        matches = compile_matchers(matchers)
        for one in self.series:
            labels: Labels = tuple(sorted((k, v) for k, v in one.labels.items() if v))
            if (name and one.name != name) or not matches(one.name, labels):
                continue
            pairs = [
                (float(at * self.interval), value)
                for at, value in enumerate(one.values)
                if value is not None and start < at * self.interval <= end
            ]
            if pairs:
                yield SampleSeries(one.name, labels, *map(list, zip(*pairs, strict=True)))


def generate(seed: int, interval: int, count: int, cases: int) -> GeneratedSource:
    """`cases` counters, gauges and histograms of `count` samples."""
    chance = random.Random(seed)
    source = GeneratedSource(interval)
    for case in range(cases):
        labels = {"case": str(case), "parity": str(case % 2)}
        source.series.append(GeneratedSeries("c", labels, counter(chance, count)))
        source.series.append(GeneratedSeries("g", labels, gauge(chance, count)))
        if case % 3:
            source.series.append(GeneratedSeries("d", labels, gauge(chance, count)))
        source.series += histogram(chance, labels, count)
    return source


def counter(chance: random.Random, count: int) -> list[float | None]:
    steps = [chance.choice((0, 1, 3, 0.25, 1000)) for _ in range(count)]
    return disturb(chance, accumulate(chance, steps))


def accumulate(chance: random.Random, steps: Sequence[float]) -> list[float | None]:
    """A counter from 0, or from a large number, that is reset at times."""
    value = chance.choice((0.0, 0.0, 5.0, 1e7))
    resets = chance.choice((0, 0, 0.03, 0.2))
    values: list[float | None] = []
    for step in steps:
        value = chance.choice((0.0, float(step))) if chance.random() < resets else value + step
        values.append(value)
    return values


def gauge(chance: random.Random, count: int) -> list[float | None]:
    small = chance.random() < 0.5
    values: list[float | None] = [
        float(chance.randint(-3, 3)) if small else chance.uniform(-1e6, 1e6) for _ in range(count)
    ]
    if chance.random() < 0.2:
        for at in chance.sample(range(count), 3):
            values[at] = chance.choice((math.nan, math.inf, -math.inf))
    return disturb(chance, values)


def disturb(chance: random.Random, values: list[float | None]) -> list[float | None]:
    """Begin later, end earlier, miss samples, be stale for a while, or have one sample alone."""
    count = len(values)
    match chance.randint(0, 9):
        case 0:
            missing = set(chance.sample(range(count), count // 3))
            return [None if at in missing else value for at, value in enumerate(values)]
        case 1:
            start = chance.randrange(count)
            return [None if at < start else value for at, value in enumerate(values)]
        case 2:
            end = chance.randrange(1, count)
            return [*values[:end], STALE, *[None] * (count - end - 1)]
        case 3:
            end = chance.randrange(1, count - 3)
            gap = chance.randint(1, 3)
            return [*values[:end], STALE, *[None] * (gap - 1), *values[end + gap :]]
        case 4:
            alone = chance.randrange(count)
            return [value if at == alone else None for at, value in enumerate(values)]
        case 5:
            end = chance.randrange(1, count)
            return [*values[:end], *[None] * (count - end)]
        case 6:
            at = chance.randrange(count)
            return [math.nan if number == at else value for number, value in enumerate(values)]
    return values


def histogram(
    chance: random.Random, labels: dict[str, str], count: int
) -> Iterator[GeneratedSeries]:
    """The buckets of some Pods; at times their bounds differ, or their counts do not increase."""
    bounds = chance.choice(BOUNDS)
    kind = chance.choice(("plain", "plain", "plain", "disturbed", "decreasing", "idle"))
    for pod in range(chance.randint(1, 3)):
        if chance.random() < 0.15:
            bounds = chance.choice(BOUNDS)
        steps = [0.0] * count
        for bound in bounds:
            largest = 0 if kind == "idle" else chance.choice((0, 1, 5, 100))
            more = [chance.randint(0, largest) for _ in range(count)]
            steps = [one + other for one, other in zip(steps, more, strict=True)]
            if kind == "decreasing":
                steps = [chance.choice((one, one / 2)) for one in steps]
            values = accumulate(random.Random(pod), steps)
            if kind == "disturbed":
                values = disturb(chance, values)
            yield GeneratedSeries("h_bucket", labels | {"pod": str(pod), "le": bound}, values)
