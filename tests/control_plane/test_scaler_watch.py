"""What autoscalers do, by the objects and Events of a real API server and its HPA controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from servedeck.cluster.resources import Resource
from servedeck.detail.cluster_detail_service import ClusterDetailService
from servedeck.detail.object_watch import ObjectQuery
from servedeck.detail.scaler_watch import ScalerWatch
from servedeck.fleet.views import NamespacedName
from servedeck.serving.scaling.scaler_state import ScalerState
from tests.control_plane.control_plane import ControlPlane, JsonObject
from tests.control_plane.test_deploy import open_connection
from tests.serving.scaling.autoscalers import hpa, scaled_object
from tests.waiting import wait_until

MANAGER = "kube-controller-manager"
HPAS = "horizontalpodautoscalers"


def hpa_path(namespace: str, name: str = "") -> str:
    return f"/apis/autoscaling/v2/namespaces/{namespace}/{HPAS}/{name}".rstrip("/")


def keda_path(namespace: str, name: str = "") -> str:
    return f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects/{name}".rstrip("/")


def create_hpa(plane: ControlPlane, namespace: str, **more: object) -> JsonObject:
    """The HPA without the status, which only a patch of the subresource can write."""
    body = hpa(namespace=namespace, owner="", **more)  # type: ignore[arg-type]
    del body["metadata"]["uid"]
    status: JsonObject = body.pop("status")
    plane.create(hpa_path(namespace), body)
    return status


@asynccontextmanager
async def watched(
    plane: ControlPlane, namespace: str, user: str = "admin"
) -> AsyncIterator[ScalerWatch]:
    async with open_connection(plane, user=user, namespace=namespace) as connection:
        service = ClusterDetailService(lambda: connection)
        changed = asyncio.Event()
        watch = ScalerWatch(service, NamespacedName(namespace, "chat"), changed.set)
        try:
            await wait_until(lambda: watch.is_settled, "the lists")
            yield watch
        finally:
            await watch.close()


async def wait_for_state(watch: ScalerWatch, what: str) -> ScalerState:
    """The only autoscaler, once it has said the words."""

    def found() -> list[ScalerState]:
        return [one for one in watch.states if what in repr(one)]

    return (await wait_until(found, what, describe_state=lambda: repr(watch.states)))[0]


@pytest.fixture
def without_controllers(control_plane: ControlPlane, namespace: str) -> Iterator[None]:
    """Nothing overwrites the status that a test writes."""
    control_plane.create_deployment(namespace, "chat", replicas=3)
    control_plane.wait_until_ready(namespace, "chat", 3)
    control_plane.pause(MANAGER)
    yield
    control_plane.resume(MANAGER)


async def test_the_words_of_the_real_hpa_controller(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.create_deployment(namespace, "chat", replicas=5)
    create_hpa(control_plane, namespace, maxReplicas=3)
    async with watched(control_plane, namespace) as watch:
        # No metric is needed to go below Max Replicas.
        state = await wait_for_state(watch, "above Spec.MaxReplicas")
        assert state.last_rescale is not None and state.last_rescale.replicas == 3
        state = await wait_for_state(watch, "FailedGetExternalMetric")
        assert state.is_stuck
        assert state.problems[0].startswith("ScalingActive False FailedGetExternalMetric: the HPA")
        assert (state.kind, state.current) == ("HorizontalPodAutoscaler", 3)
        now = datetime.now(UTC)
        assert "scaled down" in state.sentence(now)
        assert state.last_scale is not None and now - state.last_scale < timedelta(hours=1)
        await wait_until(
            lambda: (
                {"SuccessfulRescale", "FailedGetExternalMetric"}
                <= {one.reason for one in watch.events}
            ),
            "the Events",
        )


@pytest.mark.usefixtures("without_controllers")
async def test_a_scaled_object_with_its_hpa_follows_their_statuses(
    control_plane: ControlPlane, namespace: str
) -> None:
    plane = control_plane
    async with watched(plane, namespace) as watch:
        assert watch.states == ()
        scaled = scaled_object(namespace=namespace)
        del scaled["metadata"]["uid"]
        status = scaled.pop("status")
        plane.create(keda_path(namespace), scaled)
        await wait_for_state(watch, "KEDA has not looked at it yet")
        plane.request("PATCH", keda_path(namespace, "chat/status"), {"status": status})
        await wait_for_state(watch, "Its HPA keda-hpa-chat does not exist")
        status = create_hpa(plane, namespace, latency="6", current=3, desired=4)
        path = hpa_path(namespace, "keda-hpa-chat/status")
        plane.request("PATCH", path, {"status": status})
        state = await wait_for_state(watch, "ScalingLimited")
        assert (state.kind, state.current, state.desired) == ("ScaledObject", 3, 4)
        assert state.problems == ()
        assert state.metrics[0].text == "response time 6 ms against 5 ms"
        status["conditions"][2] |= {"status": "True", "reason": "TooManyReplicas"}
        plane.request("PATCH", path, {"status": status})
        state = await wait_for_state(watch, "at Max Replicas")
        plane.request("DELETE", keda_path(namespace, "chat"))
        await wait_until(
            lambda: [one.kind for one in watch.states] == ["HorizontalPodAutoscaler"], "the HPA"
        )


@pytest.mark.usefixtures("without_controllers")
async def test_who_may_not_read_hpas_is_told(control_plane: ControlPlane, namespace: str) -> None:
    verbs = ["get", "list", "watch"]
    rules = [{"apiGroups": ["keda.sh"], "resources": ["scaledobjects"], "verbs": verbs}]
    control_plane.grant("viewer", rules, namespace=namespace, name=namespace)
    scaled = scaled_object(namespace=namespace)
    del scaled["metadata"]["uid"]
    status = scaled.pop("status")
    control_plane.create(keda_path(namespace), scaled)
    path = keda_path(namespace, "chat/status")
    control_plane.request("PATCH", path, {"status": status})
    async with watched(control_plane, namespace, "viewer") as watch:
        assert watch.note.startswith("Not everything about scaling is known: ")
        assert HPAS in watch.missing_permission
        (state,) = watch.states
        assert (state.name, state.problems) == ("chat", ())


async def test_a_kind_that_the_cluster_does_not_have(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with open_connection(control_plane, namespace=namespace) as connection:
        service = ClusterDetailService(lambda: connection)
        unknown = Resource("ScaledObject", "scaledobjects", "no-keda.example", "v1alpha1")
        changed = asyncio.Event()
        watch = service.watch_objects(ObjectQuery(unknown, namespace), changed.set)
        assert watch is not None
        try:
            await wait_until(lambda: watch.is_kind_missing, "the missing kind")
            assert watch.is_settled
            await changed.wait()
        finally:
            await watch.close()
