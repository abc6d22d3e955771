"""Whose metrics are read: a serving, or one of its Pods."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, InvalidResponseError, clean_message
from servedeck.cluster.resources import DEPLOYMENT, POD, REPLICA_SET, Resource
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.metrics.families import Metric, MetricName, MetricNames, server_names
from servedeck.metrics.own_names import parse_own_names, split_annotation
from servedeck.serving.conventions import METRICS_ANNOTATION
from servedeck.serving.label_selector import format_label_selector
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE, detect_deployment
from servedeck.serving.objects.records import Deployment, Pod, ReplicaSet, Workload
from servedeck.serving.spec.mapping.json_values import as_mapping
from servedeck.serving.status.pods import is_ready

METRICS_PATH = "/metrics"
NO_READY_POD = "No Pod is Ready."
"""Why nothing is read from Pods; said of one serving and of several."""


class TargetPod(NamedTuple):
    name: str
    is_ready: bool


@dataclass(frozen=True, slots=True)
class MetricsTarget:
    """A serving, or one of its Pods. Names are as the API server has them: not
    trusted."""

    namespace: str
    name: str
    """Of the workload."""
    template: str
    """The server, as `serving.servers` names it: "vllm", …, "custom"."""
    port: int
    """Where the server has its /metrics."""
    is_tls: bool
    pods: tuple[TargetPod, ...]
    is_whole: bool = True
    """Whether the Pods are all those of the workload."""
    is_deployment: bool = True
    own_names: MetricNames = field(default_factory=dict)
    """What the serving itself calls its metrics, in place of the names of its server."""
    wanted_replicas: int | None = None
    path: str = METRICS_PATH
    """Of the page of a Pod."""
    names_problem: str = ""
    """What is wrong with the names that the serving or the settings give, one sentence; ""
    for nothing."""

    @property
    def ready_pods(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.pods if one.is_ready)

    def metric_names(
        self, metric: Metric, known: Collection[str] | None = None
    ) -> tuple[tuple[MetricName, ...], ...]:
        """The names of a metric that the Pods may have: those that the serving itself gives, else
        those of its server, see `server_names`."""
        own = self.own_names.get(metric)
        return (own,) if own else server_names(metric, self.template, known)


_METRICS_PORTS = {"triton": 8002}
"""Of servers that have their /metrics on another port than that of the requests: --metrics-port in
https://github.com/triton-inference-server/server: src/command_line_parser.h."""


_METRICS_PATHS = {"tensorrt-llm": "/prometheus/metrics"}
"""Of servers that have their metrics at another path than /metrics: tensorrt_llm/serve/
openai_server.py in https://github.com/NVIDIA/TensorRT-LLM."""


def make_target(
    workload: Workload,
    pods: Iterable[TargetPod],
    *,
    is_whole: bool = True,
    is_deployment: bool = True,
    metric_names: Mapping[str, str] = MappingProxyType({}),
) -> MetricsTarget:
    """The target for a workload and its Pods, or some of them. `metric_names` are those of the
    settings for servers that are not known; the annotation of a Deployment comes before them."""
    server = detect_deployment(workload)
    metadata = workload.metadata
    own_names: dict[Metric, tuple[MetricName, ...]] = {}
    problems: list[str] = []
    for place, named in (
        ("metric_names", metric_names if server.template == CUSTOM_TEMPLATE else {}),
        (METRICS_ANNOTATION, dict(split_annotation(metadata.annotations.metrics))),
    ):
        found, wrong = parse_own_names(named)
        own_names |= found
        problems += (f"{place}: {one}" for one in wrong)
    return MetricsTarget(
        metadata.namespace,
        metadata.name,
        server.template,
        _METRICS_PORTS.get(server.template, server.port),
        server.is_tls,
        tuple(pods),
        is_whole,
        is_deployment,
        own_names=own_names,
        wanted_replicas=workload.spec.replicas,
        path=_METRICS_PATHS.get(server.template, METRICS_PATH),
        names_problem=clean_message(problems[0]) if problems else "",
    )


class _List(msgspec.Struct):
    items: list[msgspec.Raw] = []


async def fetch_target(connection: Connection, namespace: str, name: str) -> MetricsTarget | None:
    """The target for a Deployment with the Pods that its ReplicaSets own now; None if it does not
    exist. Raises ClusterError."""
    try:
        raw = await connection.get(DEPLOYMENT.object_path(namespace, name))
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    deployment: Deployment = RecordDecoder(Deployment).decode(raw).record
    selector = _selector(raw)
    sets = await _list(connection, REPLICA_SET, namespace, selector)
    decode_set = RecordDecoder(ReplicaSet).decode
    uids = {
        one.metadata.uid
        for one in (decode_set(each).record for each in sets)
        if _is_owned(one, {deployment.metadata.uid})
    }
    decode_pod = RecordDecoder(Pod).decode
    pods = [decode_pod(each).record for each in await _list(connection, POD, namespace, selector)]
    return make_target(
        deployment,
        [TargetPod(one.metadata.name, is_ready(one)) for one in pods if _is_owned(one, uids)],
    )


def _is_owned(record: Pod | ReplicaSet, uids: set[str]) -> bool:
    return any(one.controller and one.uid in uids for one in record.metadata.owner_references)


def _selector(raw: bytes) -> str:
    spec = as_mapping(msgspec.json.decode(raw), "spec")
    return format_label_selector(spec.get("selector") or {})


async def _list(
    connection: Connection, resource: Resource, namespace: str, selector: str
) -> list[msgspec.Raw]:
    body = await connection.get(
        resource.collection_path(namespace), params=[("labelSelector", selector)]
    )
    try:
        return msgspec.json.decode(body, type=_List).items
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidResponseError(
            f"The server answered with no list of {resource.plural}; is it a Kubernetes API?"
        ) from error
