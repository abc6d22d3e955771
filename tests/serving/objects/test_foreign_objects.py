"""Objects from any source, including malformed ones, pass through every rule without an
exception."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.serving import accelerators, client_examples, endpoint
from servedeck.serving.objects import detection
from servedeck.serving.objects.gateway_records import Gateway, IstioGateway
from servedeck.serving.objects.openshift_records import Route
from servedeck.serving.objects.records import (
    ContainerState,
    ContainerStateWaiting,
    ContainerStatus,
    Deployment,
    Event,
    HTTPRoute,
    Ingress,
    Pod,
    PodStatus,
    ReplicaSet,
    Service,
    VirtualService,
)
from servedeck.serving.status import events, pods, rollout, status
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import NOW

T = TypeVar("T")

# Words that the rules match, in addition to arbitrary text.
WORDS = st.sampled_from(
    [
        "",
        "True",
        "False",
        "Unknown",
        "Pending",
        "Running",
        "Succeeded",
        "Failed",
        "Evicted",
        "NodeLost",
        "Always",
        "Ready",
        "PodScheduled",
        "Initialized",
        "Accepted",
        "HTTP",
        "HTTPS",
        "*",
        "ResolvedRefs",
        "SchedulingGated",
        "Unschedulable",
        "Progressing",
        "ReplicaFailure",
        "ProgressDeadlineExceeded",
        "NewReplicaSetAvailable",
        "CrashLoopBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "CreateContainerConfigError",
        "OOMKilled",
        "Error",
        "Completed",
        "StartError",
        "Unhealthy",
        "FailedMount",
        "NodeNotReady",
        'Failed to pull image "x": y',
        'Back-off pulling image "',
        "spec.containers{a}",
        "Startup probe failed: ",
        'Liveness probe failed: Get "x": y',
        "0/0 nodes are available: ",
        "0/9 nodes are available: 1 Insufficient x, 2 , . preemption: ",
        "vllm",
        "serve",
        "--model",
        "--model=",
        "-m",
        "python",
        "sh",
        "-c",
        'vllm serve "',
        "$(A)",
        "${",
        "--port",
        "80",
        "x",
        "/x",
        "*",
        "*.x",
        "mesh",
        "^/(",
        "PathPrefix",
        "RegularExpression",
        "Service",
        "http",
        "inference-server",
        "nvidia.com/gpu",
        "nvidia.com/mig-",
        "1",
        "1e99",
        "-1",
        "app",
        "llama",
        "team-a",
        "llama.team-a.svc",
        "servedeck.dev/serving",
        "servedeck.dev/template",
    ]
)
TEXT = WORDS | st.text(max_size=12)
NUMBERS = st.integers(-3, 400) | st.sampled_from([-(2**63), 2**63 - 1])
TIMES = st.sampled_from(
    [
        NOW,
        NOW - timedelta(minutes=5),
        NOW + timedelta(hours=1),
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ]
)


def strategy_for(kind: msgspec.inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case msgspec.inspect.StrType():
            return TEXT
        case msgspec.inspect.IntType():
            return NUMBERS
        case msgspec.inspect.BytesType():
            return st.binary(max_size=3)
        case msgspec.inspect.FloatType():
            return st.floats()
        case msgspec.inspect.BoolType():
            return st.booleans()
        case msgspec.inspect.DateTimeType():
            return TIMES
        case msgspec.inspect.NoneType():
            return st.none()
        case msgspec.inspect.VarTupleType():
            return st.lists(strategy_for(kind.item_type), max_size=3).map(tuple)
        case msgspec.inspect.DictType():
            return st.dictionaries(
                strategy_for(kind.key_type), strategy_for(kind.value_type), max_size=3
            )
        case msgspec.inspect.UnionType():
            return st.one_of([strategy_for(each) for each in kind.types])
        case msgspec.inspect.StructType():
            return st.fixed_dictionaries(
                {}, optional={field.name: strategy_for(field.type) for field in kind.fields}
            ).map(lambda fields: kind.cls(**fields))
    raise AssertionError(f"no strategy for {kind}")


def records(cls: type[T]) -> st.SearchStrategy[T]:
    return strategy_for(msgspec.inspect.type_info(cls))


def record_lists(cls: type[T]) -> st.SearchStrategy[list[T]]:
    return st.lists(records(cls), max_size=3)


WAITING_FOR_BLANKS = Pod(
    status=PodStatus(
        container_statuses=(
            ContainerStatus(state=ContainerState(waiting=ContainerStateWaiting(reason=" "))),
        )
    )
)


@given(records(Pod), record_lists(Event))
@example(WAITING_FOR_BLANKS, [])
def test_any_pod_is_shown_and_explained(pod: Pod, about: list[Event]) -> None:
    finding = diagnose(pod, about, NOW)
    if finding.health is not PodHealth.OK:
        assert finding.reason
        assert finding.message
    assert len((finding.reason + finding.message).splitlines()) <= 1
    assert finding.reevaluate_at is None or finding.reevaluate_at.tzinfo is not None
    shown = pods.pod_columns(pod)
    assert pods.format_restarts(shown, NOW)
    assert shown.ready
    assert sorted([pod, Pod(), pod], key=lambda each: pods.pod_sort_key(each, finding.health))


@given(record_lists(Event))
def test_any_events_are_ordered(given_events: list[Event]) -> None:
    assert len(events.newest_first(given_events)) == len(given_events)
    assert len(events.latest_distinct(given_events, 2)) <= 2
    assert all(events.event_count(event) >= 1 for event in given_events)


@given(records(Deployment), record_lists(ReplicaSet), record_lists(Pod), st.booleans())
def test_any_deployment_is_evaluated(
    deployment: Deployment, replicasets: list[ReplicaSet], its_pods: list[Pod], known: bool
) -> None:
    findings = [(pod, diagnose(pod, (), NOW)) for pod in its_pods]
    verdict = status.evaluate(deployment, replicasets, findings, known)
    assert 0 <= verdict.failing_count <= len(its_pods)
    assert isinstance(rollout.rollout_badge(deployment), str)


@given(
    records(Deployment),
    record_lists(Service),
    record_lists(HTTPRoute),
    record_lists(VirtualService),
    record_lists(Ingress),
    record_lists(Route),
    record_lists(Gateway),
    record_lists(IstioGateway),
    TEXT,
)
def test_any_deployment_is_recognized_and_its_endpoint_looked_for(
    deployment: Deployment,
    services: list[Service],
    http_routes: list[HTTPRoute],
    virtual_services: list[VirtualService],
    ingresses: list[Ingress],
    openshift_routes: list[Route],
    gateways: list[Gateway],
    istio_gateways: list[IstioGateway],
    host: str,
) -> None:
    assert detection.is_serving(deployment) in (True, False)
    assert detection.is_managed(deployment) in (True, False)
    resource, count = detection.detect_accelerator(deployment)
    assert bool(resource) == (count > 0)
    assert accelerators.accelerator_display_name(resource) or not resource
    assert 0 < detection.detect_port(deployment) < 2**63
    model = detection.detect_model(deployment)
    assert "\n" not in model
    found = endpoint.resolve_endpoint(
        deployment,
        services,
        http_routes,
        virtual_services,
        ingresses,
        host,
        openshift_routes=openshift_routes,
        gateways={one.key: one for one in (*gateways, *istio_gateways)},
    )
    assert found.port_forward_command
    assert found.url or found.issue
    for line in (
        found.url,
        found.source,
        found.issue,
        found.cluster_url,
        found.port_forward_command,
    ):
        assert len(line.splitlines()) <= 1
    for path in client_examples.api_paths(detection.detect_template(deployment)):
        assert client_examples.curl_command(found.url, path, found.model, True)
