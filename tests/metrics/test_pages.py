"""The table of names against pages of /metrics of each server.

The pages were not recorded, as these servers need accelerators and models: they have the names,
kinds and buckets that are published at the addresses in their first lines, and made-up values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from servedeck.metrics.families import (
    METRIC_KINDS,
    SERVER_METRICS,
    Metric,
    MetricKind,
    is_known,
    sample_names,
    server_names,
)
from servedeck.metrics.graphs import GraphKey, GraphOptions, graph_lines
from tests.metrics.targets import target

FOLDER = Path(__file__).with_name("pages")
TEMPLATES = {
    "vllm_v0": "vllm",
    "vllm_v1_early": "vllm",
    "vllm_v1": "vllm",
    "sglang_early": "sglang",
    "sglang": "sglang",
    "tgi": "tgi",
    "triton": "triton",
    "furiosa_llm": "furiosa-llm",
    "tei": "tei",
    "tensorrt_llm": "tensorrt-llm",
}
NEWEST = ("vllm_v1", "sglang", "tgi", "triton", "furiosa_llm", "tei", "tensorrt_llm")
PREFIXES = {
    "vllm": "vllm:",
    "sglang": "sglang:",
    "tgi": "tgi_",
    "triton": "nv_",
    "furiosa-llm": "furiosa_llm_",
    "tei": "te_",
    "tensorrt-llm": "trtllm_",
}
UNPUBLISHED = {
    # OpenMetrics libraries add _total to a counter; the documentation has none here
    "furiosa_llm_prefix_cache_queries_total",
    "furiosa_llm_prefix_cache_hits_total",
}

_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-z_]+="[^"]*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def lines(page: str) -> list[str]:
    return (FOLDER / f"{page}.txt").read_text().splitlines()


def samples(page: str) -> Iterator[Sample]:
    for line in lines(page):
        if not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match is not None, line
            yield Sample(match[1], dict(_LABEL.findall(match[2] or "")), float(match[3]))


def kinds(page: str) -> dict[str, str]:
    """The kind of each metric."""
    return dict(line.split()[2:] for line in lines(page) if line.startswith("# TYPE "))


def names(page: str) -> frozenset[str]:
    return frozenset(one.name for one in samples(page))


every_page = pytest.mark.parametrize("page", TEMPLATES)


def test_each_page_is_of_a_server():
    assert {one.stem for one in FOLDER.iterdir()} == set(TEMPLATES)
    assert set(TEMPLATES.values()) <= set(SERVER_METRICS)


@every_page
def test_a_page_names_its_source(page: str):
    assert re.fullmatch(r"# source: https://\S+", lines(page)[0])


@every_page
def test_a_page_follows_the_format(page: str):
    """https://prometheus.io/docs/instrumenting/exposition_formats/"""
    types = kinds(page)
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    buckets: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in samples(page):
        key = (one.name, tuple(sorted(one.labels.items())))
        assert key not in seen, one
        seen.add(key)
        base = re.sub(r"_(bucket|sum|count)$", "", one.name)
        if types.get(base) != "histogram":
            assert one.name in types, one
            continue
        if one.name.endswith("_bucket"):
            series = (base, str({**one.labels, "le": ""}))
            buckets.setdefault(series, []).append((float(one.labels["le"]), one.value))
    for series, found in buckets.items():
        assert found == sorted(found) and found[-1][0] == math.inf, series
        assert [count for _, count in found] == sorted(count for _, count in found), series
        assert {f"{series[0]}_sum", f"{series[0]}_count"} <= names(page)


@every_page
def test_the_kinds_are_those_of_the_table(page: str):
    types = kinds(page)
    kind_names = {
        MetricKind.COUNTER: "counter",
        MetricKind.GAUGE: "gauge",
        MetricKind.HISTOGRAM: "histogram",
    }
    for metric, several in SERVER_METRICS[TEMPLATES[page]].items():
        for one in several:
            kind = types.get(one.name)
            # the sum of a histogram of lengths counts tokens
            if kind is not None:
                assert kind == kind_names[METRIC_KINDS[metric]], one


@pytest.mark.parametrize("template", PREFIXES)
def test_every_name_of_a_server_is_on_one_of_its_pages(template: str):
    published = frozenset().union(*(names(p) for p, of in TEMPLATES.items() if of == template))
    claimed = {
        sample
        for metric, several in SERVER_METRICS[template].items()
        for one in several
        for sample in sample_names(metric, one.name)
    }
    assert claimed - published <= UNPUBLISHED
    for name in claimed - {"http_requests_total"}:
        assert name.startswith(PREFIXES[template])


def test_nothing_is_called_unpublished_that_is_on_a_page():
    every = frozenset().union(*map(names, TEMPLATES))
    assert not UNPUBLISHED & every


@pytest.mark.parametrize("page", NEWEST)
def test_the_newest_version_has_every_metric_but_what_was_replaced(page: str):
    replaced = {Metric.PREFIX_HIT_RATE} if page == "vllm_v1" else set()
    found = {
        metric
        for metric, several in SERVER_METRICS[TEMPLATES[page]].items()
        if any(is_known(metric, one.name, names(page)) for one in several)
    }
    assert found == set(SERVER_METRICS[TEMPLATES[page]]) - replaced


@every_page
def test_an_unknown_server_with_this_page_has_the_names_of_it(page: str):
    known = names(page)
    row = SERVER_METRICS[TEMPLATES[page]]
    for metric, several in row.items():
        there = tuple(one for one in several if is_known(metric, one.name, known))
        if there:
            assert there in server_names(metric, "custom", known)
    # and none of a server that it is not
    for metric in Metric:
        for group in server_names(metric, "custom", known):
            assert all(is_known(metric, one.name, known) for one in group)


@every_page
def test_the_codes_of_errors_are_labels_of_the_page(page: str):
    found = list(samples(page))
    for one in SERVER_METRICS[TEMPLATES[page]].get(Metric.ERRORS, ()):
        series = [sample for sample in found if sample.name == one.name]
        if one.code_label and series:
            assert all(one.code_label in sample.labels for sample in series)
            codes = {sample.labels[one.code_label] for sample in series}
            wrong = {code for code in codes if re.fullmatch(one.error_codes or ".*", code)}
            assert wrong
            assert not any(code.startswith("2") for code in wrong)


@pytest.mark.parametrize(
    ("page", "absent"),
    [
        ("vllm_v0", set()),
        ("vllm_v1", set()),
        ("sglang", {GraphKey.PREEMPTIONS}),
        ("furiosa_llm", {GraphKey.PREEMPTIONS}),
        ("tensorrt_llm", {GraphKey.PREEMPTIONS}),
        (
            "tgi",
            {GraphKey.TTFT, GraphKey.KV_CACHE, GraphKey.PREFIX_CACHE, GraphKey.PREEMPTIONS},
        ),
        (
            "triton",
            {
                GraphKey.ITL,
                GraphKey.TOKENS,
                GraphKey.KV_CACHE,
                GraphKey.PREFIX_CACHE,
                GraphKey.PREEMPTIONS,
            },
        ),
        (
            "tei",
            {
                GraphKey.TTFT,
                GraphKey.ITL,
                GraphKey.TOKENS,
                GraphKey.KV_CACHE,
                GraphKey.PREFIX_CACHE,
                GraphKey.PREEMPTIONS,
            },
        ),
    ],
)
def test_a_server_has_these_graphs(page: str, absent: set[GraphKey]):
    options = GraphOptions(60, 15, names(page))
    shown = {key for key in GraphKey if graph_lines(key, target(TEMPLATES[page]), options)}
    assert set(GraphKey) - shown == absent
