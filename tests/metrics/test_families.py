"""The table of what the servers call their metrics."""

from __future__ import annotations

import re

import pytest

from servedeck.metrics.families import (
    HTTP_REQUESTS,
    METRIC_KINDS,
    SERVER_METRICS,
    Metric,
    MetricKind,
    all_sample_names,
    is_known,
    sample_names,
    server_names,
)


def names(metric: Metric, template: str, known: frozenset[str] | None = None) -> list[list[str]]:
    return [[one.name for one in group] for group in server_names(metric, template, known)]


def test_a_known_server_has_its_own_names_alone():
    for template, row in SERVER_METRICS.items():
        for metric in Metric:
            expected = [row[metric]] if metric in row else []
            assert list(server_names(metric, template)) == expected
            # also those that are not there yet: a Pod may be about to start
            assert list(server_names(metric, template, frozenset())) == expected


def test_the_newest_name_is_the_first():
    assert names(Metric.ITL, "vllm") == [
        ["vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"]
    ]
    assert names(Metric.KV_CACHE, "vllm") == [
        ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"]
    ]


def test_an_unknown_server_has_the_names_that_its_pods_have():
    every = names(Metric.RUNNING, "custom")
    assert ["vllm:num_requests_running"] in every and ["sglang:num_running_reqs"] in every
    known = frozenset(["sglang:num_running_reqs", "sglang:e2e_request_latency_seconds_bucket"])
    assert names(Metric.RUNNING, "custom", known) == [["sglang:num_running_reqs"]]
    assert names(Metric.LATENCY, "custom", known) == [["sglang:e2e_request_latency_seconds"]]
    assert names(Metric.KV_CACHE, "custom", known) == []


def test_a_name_of_several_servers_is_there_once():
    groups = server_names(Metric.ERRORS, "custom", frozenset(["http_requests_total"]))
    assert len(set(groups)) == len(groups)
    assert groups[0] == (HTTP_REQUESTS,)


@pytest.mark.parametrize(
    ("metric", "name", "known", "expected"),
    [
        (Metric.TTFT, "ttft", ["ttft_bucket"], True),
        (Metric.TTFT, "ttft", ["ttft"], True),  # a native histogram
        (Metric.TTFT, "ttft", ["ttft_sum", "ttft_count"], False),  # a summary
        (Metric.REQUESTS, "requests_total", ["requests_total"], True),
        (Metric.REQUESTS, "requests_total", ["requests"], False),
    ],
)
def test_what_is_known(metric: Metric, name: str, known: list[str], expected: bool):
    assert is_known(metric, name, known) is expected


def test_the_samples_that_are_read():
    assert sample_names(Metric.LATENCY, "a") == ("a_bucket",)
    assert sample_names(Metric.RUNNING, "a") == ("a",)
    found = list(all_sample_names("vllm"))
    assert "vllm:e2e_request_latency_seconds_bucket" in found
    assert "vllm:num_requests_running" in found
    assert not any(one.startswith("sglang:") for one in found)


def test_the_codes_of_errors():
    for row in SERVER_METRICS.values():
        for metric, several in row.items():
            for one in several:
                if metric is not Metric.ERRORS:
                    assert (one.code_label, one.error_codes, one.failure_codes) == ("", "", "")
                    continue
                assert bool(one.error_codes) <= bool(one.code_label)
                # what the server failed at is among the errors
                for code in ("500", "503", "5xx"):
                    if one.failure_codes and re.fullmatch(one.failure_codes, code):
                        assert re.fullmatch(one.error_codes, code)
    for code in ("404", "4xx", "500", "5xx"):
        assert re.fullmatch(HTTP_REQUESTS.error_codes, code)
    for code in ("200", "2xx", "304"):
        assert not re.fullmatch(HTTP_REQUESTS.error_codes, code)
    assert not re.fullmatch(HTTP_REQUESTS.failure_codes, "404")


def test_counters_and_histograms_are_named_as_such():
    for row in SERVER_METRICS.values():
        for metric, several in row.items():
            for one in several:
                ending = ("_bucket", "_total") if metric is Metric.LATENCY else ("_bucket",)
                assert not one.name.endswith(ending)
                if METRIC_KINDS[metric] is not MetricKind.COUNTER:
                    assert not one.name.endswith("_total")
