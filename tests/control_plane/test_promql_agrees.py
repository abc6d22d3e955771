"""Expressions have the values that Prometheus computes from the same samples."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from servedeck.metrics.sample_ring import SampleRing
from servedeck.promql.evaluation import evaluate
from servedeck.promql.exposition import Sample
from servedeck.promql.parser import parse_expression
from servedeck.promql.rates import Windows
from servedeck.promql.samples import STALE, SampleSource, is_stale
from tests.control_plane.promtool import Labels, Question, ask_promtool
from tests.promql.generated import (
    INSTANTS,
    OVER_TIME,
    RANGES,
    GeneratedSeries,
    GeneratedSource,
    generate,
)

COUNT = 90
"""Samples of a series."""
INTERVALS = {5: 1, 7: 2, 15: 3, 31: 4}
"""Seconds between samples, and the seed of the series."""


def questions(interval: int) -> list[Question]:
    """At times with which no range begins or ends at a sample: Prometheus 2 and 3 differ there."""
    found: list[Question] = []
    for step in (3, 11, 40, 64, COUNT - 1, COUNT + 2, COUNT + 30):
        time = step * interval * 1000 + 234
        for window in ("1m", "150s"):
            found += [Question(one.format(w=window), time) for one in RANGES + OVER_TIME]
        found += [Question(one, time) for one in INSTANTS]
    return found


def our_values(source: SampleSource, question: Question) -> dict[Labels, float]:
    found = evaluate(parse_expression(question.expression), source, question.milliseconds / 1000)
    return {
        tuple(sorted(one.labels.items())): value
        for one in found
        if (value := one.values[0]) is not None
    }


def is_equal(one: float, other: float) -> bool:
    return (one != one and other != other) or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def version_dependent_cases(source: GeneratedSource, question: Question) -> set[str]:
    """The cases of which a counter begins in the range in such a way that Prometheus 2 and 3
    extrapolate differently (see rates.py)."""
    text, found = question.expression, set[str]()
    if not any(name in text for name in ("rate(", "increase(")) or "irate" in text:
        return found
    window = 60.0 if "[1m]" in text else 150.0
    end = question.milliseconds / 1000 - (60 if "offset" in text else 0)
    for one in source.select("h_bucket" if "h_bucket" in text else "c", (), end - window, end):
        pairs = zip(one.times, one.values, strict=True)
        present = [(time, value) for time, value in pairs if not is_stale(value)]
        if _is_version_dependent(present, end, window):
            found.add(dict(one.labels)["case"])
    return found


def _is_version_dependent(samples: list[tuple[float, float]], end: float, window: float) -> bool:
    times, values = [time for time, _ in samples], [value for _, value in samples]
    windows = Windows(times, [end], window, has_nan=True)
    if not windows.extrapolations.each:
        return False
    one = windows.extrapolations.each[0]
    average = one.sampled / (one.last - one.first)
    difference = (
        values[-1]
        - values[0]
        + sum(values[at - 1] for at in range(1, len(values)) if values[at] < values[at - 1])
    )
    if times[0] - (end - window) < 1.1 * average or not difference > 0 or not values[0] >= 0:
        return False
    return average / 2 < one.sampled * values[0] / difference < 1.1 * average


def differences(
    question: Question, ours: dict[Labels, float], theirs: dict[Labels, float], left_out: set[str]
) -> list[str]:
    return [
        f"{question}: {labels} ours {ours.get(labels)}, Prometheus {theirs.get(labels)}"
        for labels in ours.keys() | theirs.keys()
        if dict(labels).get("case", "") not in left_out
        and (
            labels not in ours or labels not in theirs or not is_equal(ours[labels], theirs[labels])
        )
    ]


def test_values_are_those_of_prometheus(tmp_path: Path) -> None:
    sources = [generate(seed, interval, COUNT, 60) for interval, seed in INTERVALS.items()]
    groups = [(source, questions(source.interval)) for source in sources]
    wrong: list[str] = []
    compared = skipped = 0
    for (source, asked), answers in zip(groups, ask_promtool(tmp_path, groups), strict=True):
        for question in asked:
            left_out = version_dependent_cases(source, question)
            ours, theirs = our_values(source, question), answers[question]
            wrong += differences(question, ours, theirs, left_out)
            compared += len(theirs)
            skipped += len(left_out)
    assert wrong == []
    assert compared > 50_000
    assert skipped < compared / 50


@pytest.mark.parametrize(
    "text", ["sum by (le) (rate(h_bucket[1m]))", "h_bucket", "count(h_bucket)"]
)
def test_the_ring_has_the_samples_that_a_prometheus_has(tmp_path: Path, text: str) -> None:
    """Pages of which series are missing, and a Pod that does not answer."""
    source = GeneratedSource(5)
    bounds = ["1", "2", "+Inf"]
    ring = SampleRing()
    columns: dict[tuple[str, str], list[float | None]] = {
        (pod, le): [] for pod in ("a", "b") for le in bounds
    }
    for at in range(40):
        for pod in ("a", "b"):
            labels = {"namespace": "n", "pod": pod, "instance": pod}
            is_down = pod == "b" and 15 <= at < 20
            page = [
                Sample("h_bucket", (("le", le),), float(at * (number + 1)))
                for number, le in enumerate(bounds)
                if not is_down and not (le == "2" and at % 11 in (4, 5))
            ]
            if is_down:
                ring.mark_stale(labels, at * 5.0)
            else:
                ring.append(labels, at * 5.0, page)
            values = {dict(one.labels)["le"]: one.value for one in page}
            for le in bounds:
                column = columns[pod, le]
                was = next((value for value in reversed(column) if value is not None), STALE)
                column.append(values.get(le, None if is_stale(was) else STALE))
    for (pod, le), column in columns.items():
        labels = {"namespace": "n", "pod": pod, "instance": pod, "le": le}
        source.series.append(GeneratedSeries("h_bucket", labels, column))
    asked = [Question(text, at * 2500 + 234) for at in range(1, 90)]
    (answers,) = ask_promtool(tmp_path, [(source, asked)])
    wrong = [
        line
        for question in asked
        for line in differences(question, our_values(ring, question), answers[question], set())
    ]
    assert wrong == []
