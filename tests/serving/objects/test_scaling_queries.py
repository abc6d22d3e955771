"""The queries of the scaler's triggers: which metrics, of which Pods."""

from __future__ import annotations

import re
from typing import Any

import pytest

from servedeck.metrics.families import SERVER_METRICS, Metric
from servedeck.promql.parser import parse_expression
from servedeck.serving.spec.mapping import scaling_queries
from servedeck.serving.spec.mapping.reporters import Proxy, Reporter
from servedeck.serving.spec.mapping.scaling_queries import build_scaling_query
from servedeck.serving.spec.scaling import TRIGGERS
from servedeck.serving.spec.templates import TEMPLATES

NOTHING = Reporter()
ISTIO = Reporter(Proxy.ISTIO, "llama")
ENVOY = Reporter(Proxy.ENVOY_GATEWAY, "llama")
RESPONSE_TIME, WAITING = TRIGGERS


def query(trigger: str, template: str = "vllm", reporter: Reporter = NOTHING, **how: Any) -> str:
    name = how.pop("name", "llama")
    return build_scaling_query(
        trigger, template, "chat", name, reporter, is_woken=how.pop("is_woken", False)
    )


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_metrics_are_those_that_servedeck_shows(template: str) -> None:
    metrics = SERVER_METRICS.get(template, {})
    for table, metric in (
        (scaling_queries._LATENCY, Metric.LATENCY),
        (scaling_queries._WAITING, Metric.WAITING),
    ):
        names = [one.name for one in metrics.get(metric, ())]
        assert [table[template]] == names[:1] if template in table else names == []
        assert all(one.factor == 1.0 for one in metrics.get(metric, ()))  # in s, or requests


@pytest.mark.parametrize("is_woken", [False, True])
@pytest.mark.parametrize("reporter", [NOTHING, ISTIO, ENVOY])
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_every_query_is_promql(
    trigger: str, template: str, reporter: Reporter, is_woken: bool
) -> None:
    found = query(trigger, template, reporter, is_woken=is_woken)
    if template in ("vllm", "furiosa-llm"):
        assert found
    elif trigger == WAITING or reporter is NOTHING:
        assert found == ""
        return
    parse_expression(found)
    assert found.count("vector(0)") == is_woken


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_the_pods_are_those_of_the_deployment_alone(trigger: str) -> None:
    text = query(trigger, name="llama")
    pattern = re.search(r'pod=~"([^"]*)"', text)
    assert pattern is not None
    for pod, is_its in (
        ("llama-6d4f8b7c9-ddddd", True),
        ("llama-v2-6d4f8b7c9-ddddd", False),
        ("my-llama-6d4f8b7c9-ddddd", False),
        ("llama-6d4f8b7c9-ddddd-0", False),
        ("llama-async-6d4f8b7c9-ddddd", False),
        ("llama-0", False),
    ):
        assert (re.fullmatch(pattern[1], pod) is not None) is is_its, pod


def test_a_dot_in_the_name_is_only_a_dot() -> None:
    text = query(WAITING, name="llama-3.3")
    assert 'pod=~"llama-3\\\\.3-[a-z0-9]+-[a-z0-9]{5}"' in text
    parse_expression(text)


def test_envoy_clusters_are_those_of_the_route_alone() -> None:
    text = query(RESPONSE_TIME, "custom", ENVOY)
    pattern = re.search(r'envoy_cluster_name=~"([^"]*)"', text)
    assert pattern is not None
    assert re.fullmatch(pattern[1], "httproute/chat/llama/rule/0")
    assert not re.fullmatch(pattern[1], "httproute/chat/llama-v2/rule/0")
    assert not re.fullmatch(pattern[1], "httproute/other/llama/rule/0")


def test_the_gateway_counts_only_where_the_server_has_no_histogram() -> None:
    assert "vllm:" in query(RESPONSE_TIME, "vllm", ISTIO)
    assert "istio_request_duration_milliseconds" in query(RESPONSE_TIME, "custom", ISTIO)


def test_who_sends_the_requests_counts_where_no_sidecar_receives_them() -> None:
    text = query(RESPONSE_TIME, "custom", Reporter(Proxy.ISTIO, "llama-3.3"))
    received, sent = (
        text.index(one) for one in ('reporter="destination"', 'reporter=~"source|waypoint"')
    )
    assert received < sent
    pattern = re.search(r'destination_service=~"([^"]*)"', text)
    assert pattern is not None
    host = pattern[1].replace("\\\\", "\\")
    assert re.fullmatch(host, "llama-3.3.chat.svc.cluster.local")
    assert re.fullmatch(host, "llama-3.3.chat.svc.corp.example")
    assert not re.fullmatch(host, "llama-3.3.chat-2.svc.cluster.local")
    assert not re.fullmatch(host, "my-llama-3.3.chat.svc.cluster.local")
    assert not re.fullmatch(host, "llama-353.chat.svc.cluster.local")
