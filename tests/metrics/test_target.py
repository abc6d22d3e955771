"""Whose metrics are read."""

from __future__ import annotations

import json

import pytest

from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.metrics.families import Metric
from servedeck.metrics.target import MetricsTarget, make_target
from servedeck.serving.conventions import METRICS_ANNOTATION
from servedeck.serving.objects.records import Deployment


def of(annotation: str, **names: str) -> MetricsTarget:
    container = {"name": "server", "image": "example/own:1"}
    raw = {
        "metadata": {
            "name": "llama",
            "namespace": "chat",
            "uid": "u",
            "annotations": {METRICS_ANNOTATION: annotation},
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
    }
    record = RecordDecoder(Deployment).decode(json.dumps(raw).encode()).record
    return make_target(record, [], metric_names=names)


def test_the_annotation_comes_before_the_settings():
    found = of("requests=my_total", requests="their_total", latency="their_seconds")
    assert found.template == "custom"
    assert [one.name for (one,) in found.own_names.values()] == ["my_total", "their_seconds"]
    assert found.names_problem == ""
    assert found.metric_names(Metric.REQUESTS)[0][0].name == "my_total"


@pytest.mark.parametrize(
    ("annotation", "names", "problem"),
    [
        ("requets=my_total", {}, f"{METRICS_ANNOTATION}: 'requets' is no metric; choose from "),
        ("requests=1x", {}, f"{METRICS_ANNOTATION}: '1x' is no name of a metric of Prometheus."),
        ("", {"ttft": "a b"}, "metric_names: 'a b' is no name of a metric of Prometheus."),
        ("a\x1b[2J\u202e=x", {}, f"{METRICS_ANNOTATION}: 'a' is no metric"),
    ],
)
def test_wrong_names_are_said(annotation: str, names: dict[str, str], problem: str):
    found = of(annotation, **names)
    assert found.names_problem.startswith(problem) and found.names_problem.isprintable()
    assert not found.own_names
