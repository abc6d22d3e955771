"""The names that a serving, or the settings, give the metrics of a custom server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.metrics.families import Metric, MetricName
from servedeck.metrics.own_names import parse_own_names, split_annotation


def parse(text: str) -> tuple[dict[Metric, tuple[MetricName, ...]], tuple[str, ...]]:
    names, problems = parse_own_names(dict(split_annotation(text)))
    return dict(names), problems


def test_the_entries_of_an_annotation():
    names, problems = parse(" requests=my_requests_total,\n latency=my_seconds ")
    assert names == {
        Metric.REQUESTS: (MetricName("my_requests_total"),),
        Metric.LATENCY: (MetricName("my_seconds"),),
    }
    assert problems == ()


@pytest.mark.parametrize(
    ("name", "factor"),
    [("a_seconds", 1.0), ("a_milliseconds", 1e-3), ("a_ms", 1e-3), ("a_us", 1e-6)],
)
def test_the_unit_is_in_the_name(name: str, factor: float):
    names, _ = parse(f"latency={name}")
    assert names[Metric.LATENCY] == (MetricName(name, factor),)


def test_a_share_in_percent():
    names, _ = parse("kv-cache=cache_percent")
    assert names[Metric.KV_CACHE] == (MetricName("cache_percent", 0.01),)


@pytest.mark.parametrize("suffix", ["_bucket", "_sum", "_count", ""])
def test_a_histogram_is_named_without_the_suffix_of_its_series(suffix: str):
    names, _ = parse(f"ttft=first_token_seconds{suffix}")
    assert names[Metric.TTFT] == (MetricName("first_token_seconds"),)


def test_the_suffix_of_a_counter_stays():
    names, _ = parse("requests=requests_count")
    assert names[Metric.REQUESTS] == (MetricName("requests_count"),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("speed=a", "'speed' is no metric; choose from requests, "),
        ("errors=a_total", "'errors' is no metric; choose from requests, "),
        ("requests=1a", "'1a' is no name of a metric of Prometheus."),
        ("requests=a-b", "'a-b' is no name of a metric of Prometheus."),
        ("requests", "'' is no name of a metric of Prometheus."),
        ('requests=a{b="c"}', "is no name of a metric of Prometheus."),
    ],
)
def test_what_is_wrong_is_said_and_the_rest_is_used(text: str, problem: str):
    names, problems = parse(f"{text} waiting=queue")
    assert names == {Metric.WAITING: (MetricName("queue"),)}
    assert len(problems) == 1 and problem in problems[0]


@given(st.text(max_size=200))
def test_no_text_gets_into_a_query(text: str):
    names, problems = parse(text)
    for found in names.values():
        for one in found:
            assert one.name.replace(":", "_").isidentifier() and one.name.isascii()
    assert not any("\x1b" in one for one in problems)
