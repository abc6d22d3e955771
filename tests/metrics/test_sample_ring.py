"""Samples by time in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics import sample_ring
from servedeck.metrics.sample_ring import SERIES_BYTES, SampleRing
from servedeck.promql.evaluation import evaluate
from servedeck.promql.exposition import Sample
from servedeck.promql.expressions import Matcher
from servedeck.promql.matching import Condition
from servedeck.promql.parser import parse_expression
from servedeck.promql.samples import Labels, is_stale

POD = {"namespace": "n", "pod": "a", "instance": "10.0.0.1:8000"}
OTHER = POD | {"pod": "b"}


def page(**values: float) -> list[Sample]:
    return [Sample(name, (), value) for name, value in values.items()]


def samples(ring: SampleRing, name: str, pod: str = "a") -> list[tuple[float, float | None]]:
    """Time and value; None for the end of the series."""
    found = list(ring.select(name, [Matcher("pod", "=", pod)], float("-inf"), float("inf")))
    assert len(found) <= 1
    return [
        (time, None if is_stale(value) else value)
        for one in found
        for time, value in zip(one.times, one.values, strict=True)
    ]


def value(ring: SampleRing, text: str, time: float) -> float | None:
    found = evaluate(parse_expression(text), ring, time)
    return found[0].values[0] if found else None


def test_samples_are_those_of_the_pages():
    ring = SampleRing()
    assert ring.since() is None
    ring.append(POD, 10, page(x=1, y=5))
    ring.append(OTHER, 11, page(x=7))
    ring.append(POD, 20.00049, page(x=2, y=6))
    assert samples(ring, "x") == [(10, 1), (20, 2)]
    assert samples(ring, "y") == [(10, 5), (20, 6)]
    assert samples(ring, "x", "b") == [(11, 7)]
    assert (ring.since(), ring.names()) == (10, {"x", "y"})
    assert ring.names(lambda labels: labels["pod"] == "b") == {"x"}


def test_samples_of_a_time_are_found():
    ring = SampleRing()
    for time in range(0, 100, 10):
        ring.append(POD, time, page(x=time))
    ring.append(POD, 100, page(x=100, late=1))
    (found,) = ring.select("x", (), 20, 40)
    assert (list(found.times), list(found.values)) == ([30, 40], [30, 40])
    assert list(ring.select("late", (), 0, 99)) == []
    assert [list(one.times) for one in ring.select("late", (), 0, 100)] == [[100]]


def test_series_of_a_pod_share_their_times():
    ring = SampleRing()
    for time in range(5):
        ring.append(POD, time, page(x=1, y=2))
    (x, y) = ring.select("", (), 0, 3)
    assert x.times is y.times


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"le": "1"}, {"le": "1"}),
        ({"pod": "mine"}, {"exported_pod": "mine"}),
        (
            {"pod": "mine", "exported_pod": "too"},
            {"exported_exported_pod": "mine", "exported_pod": "too"},
        ),
    ],
)
def test_a_page_does_not_set_the_labels_of_its_pod(
    labels: Mapping[str, str], found: Mapping[str, str]
):
    ring = SampleRing()
    ring.append(POD, 1, [Sample("x", tuple(sorted(labels.items())), 1)])
    (series,) = ring.select("x", (), 0, 1)
    assert dict(series.labels) == POD | found
    assert list(series.labels) == sorted(series.labels)


def test_a_series_that_a_page_does_not_have_has_ended():
    ring = SampleRing()
    for time, values in (
        (1, {"x": 1, "y": 1}),
        (2, {"y": 2}),
        (3, {"y": 3}),
        (4, {"x": 4, "y": 4}),
    ):
        ring.append(POD, time, page(**values))
    assert samples(ring, "x") == [(1, 1), (2, None), (3, None), (4, 4)]
    assert [value(ring, "x", time) for time in (1, 2, 3.5, 4)] == [1, None, None, 4]


def test_a_pod_that_does_not_answer_has_no_values_and_keeps_its_samples():
    ring = SampleRing()
    ring.append(POD, 1, page(x=1))
    ring.append(OTHER, 1, page(x=2))
    ring.mark_stale(POD, 2)
    ring.mark_stale(POD, 3)
    assert samples(ring, "x") == [(1, 1), (2, None)]
    assert value(ring, "sum(x)", 3) == 2
    assert value(ring, "sum(count_over_time(x[10s]))", 3) == 2


def test_what_is_not_newer_is_ignored():
    ring = SampleRing()
    for time in (5, 5, 4, 5.0004):
        ring.append(POD, time, page(x=time))
    assert samples(ring, "x") == [(5, 5)]


def test_of_two_samples_of_a_series_the_first_counts():
    ring = SampleRing()
    ring.append(POD, 1, [*page(x=1), *page(x=2)])
    assert samples(ring, "x") == [(1, 1)]


def test_series_that_are_new_are_selected_too():
    ring = SampleRing()
    ring.append(POD, 1, page(x=1))
    assert value(ring, "count(x)", 1) == 1
    ring.append(OTHER, 2, page(x=1))
    assert value(ring, "count(x)", 2) == 2


# -- memory -------------------------------------------------------------------------------------


def test_older_samples_become_fewer_and_the_history_stays():
    ring = SampleRing(20_000)
    for time in range(20_000):
        ring.append(POD, time, page(x=2 * time, y=3 * time))
        assert ring.size <= 20_000
    for name, factor in (("x", 2), ("y", 3)):
        found = samples(ring, name)
        assert all(value == factor * time for time, value in found)
        times = [time for time, _value in found]
        assert times[0] == 0 and times[-50:] == list(range(19_950, 20_000))
        assert len(times) > 400
        for before, after in pairwise(times):
            assert after - before <= 2 + (20_000 - before) / 10
    assert ring.since() == 0


def test_series_that_ended_long_ago_go_first():
    ring = SampleRing(20 * SERIES_BYTES)
    for time in range(1000):
        ended = {"first": 1.0} if time < 10 else {"second": 1.0} if time < 20 else {}
        ring.append(POD, time, page(x=time, **ended))
        if not samples(ring, "first"):
            break
    assert samples(ring, "second")
    assert len(samples(ring, "x")) == time + 1
    assert ring.names() == {"first", "second", "x"}


def test_a_pod_that_is_gone_is_forgotten_with_its_last_series():
    ring = SampleRing(20 * SERIES_BYTES)
    ring.append(OTHER, 0, page(x=1))
    ring.mark_stale(OTHER, 1)
    for time in range(3000):
        ring.append(POD, time, page(x=time))
    assert samples(ring, "x", "b") == []
    assert ring.names(lambda labels: labels["pod"] == "b") == set()


def test_series_without_end_are_bounded():
    ring = SampleRing(100_000)
    for time in range(300):
        ring.append(POD, time, [Sample("x", (("id", f"{time}-{n}"),), 1) for n in range(20)])
        assert ring.size <= 100_000 + 20 * 8 * 300
    newest = list(ring.select("x", (), 298.5, 299))
    assert newest


steps = st.lists(
    st.tuples(
        st.booleans(),
        st.dictionaries(st.sampled_from("xyz"), st.floats(allow_nan=False), max_size=3),
    ),
    max_size=120,
)


@given(steps, st.integers(1, 60))
def test_what_remains_was_added_and_no_end_is_lost(
    steps: list[tuple[bool, dict[str, float]]], memory: int
):
    ring = SampleRing(3 * SERIES_BYTES + memory * 20)
    added: dict[str, dict[float, float]] = {name: {} for name in "xyz"}
    for time, (answers, values) in enumerate(steps):
        if answers:
            ring.append(POD, time, page(**values))
            for name, one in values.items():
                added[name][time] = one
        else:
            ring.mark_stale(POD, time)
    for name in "xyz":
        found = samples(ring, name)
        for time, one in found:
            if one is not None:
                assert added[name][time] == one
        last = len(steps) - 1
        if found and last not in added[name]:
            assert found[-1][1] is None
    assert ring.size == sum(one.size for one in ring._pods.values()) + SERIES_BYTES * len(
        ring._pods
    )


def test_what_was_selected_does_not_change_while_it_is_read():
    ring = SampleRing(max_bytes=20 * SERIES_BYTES)
    for time in range(40):
        ring.append(POD, time, page(**{f"s{number}": time for number in range(4)}))
    before = list(ring.select("", [], float("-inf"), float("inf")))
    selected = ring.select("", [], float("-inf"), float("inf"))
    read = [next(selected)]
    for time in range(40, 4000):
        ring.append(POD, time, page(**{f"s{number}": time for number in range(4)}))
    ring.append(OTHER, 4000, page(new=1))
    assert [*read, *selected] == before


def test_no_sample_is_added_while_others_are_selected(monkeypatch: pytest.MonkeyPatch):
    """A graph is computed in a thread while Pods are read."""
    ring = SampleRing()
    locked: list[bool] = []

    def compile_condition(_matchers: object) -> Condition:
        def matches(_name: str, _labels: Labels) -> bool:
            locked.append(ring._lock.locked())
            return True

        return matches

    def slow_page() -> Iterator[Sample]:
        locked.append(ring._lock.locked())
        yield Sample("x", (), 1.0)

    monkeypatch.setattr(sample_ring, "compile_matchers", compile_condition)
    ring.append(POD, 10, slow_page())
    for _ in ring.select("x", (), 0, 20):
        locked.append(not ring._lock.locked())
    assert locked == [True] * 3
