"""Assertions that compare what is shown with a fresh list."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.cluster.watch.reflector import RecordChange, ReflectorConfig, ReflectorPhase
from servedeck.config import Settings
from servedeck.fleet.fleet import Fleet
from servedeck.fleet.session import SHARED, ClusterSession
from servedeck.fleet.views import NamespacedName, ServingView
from tests.control_plane.control_plane import ControlPlane, RequestError
from tests.waiting import WAIT_SECONDS, wait_until

FLEET_KINDS = (
    kinds.DEPLOYMENTS,
    kinds.REPLICA_SETS,
    kinds.PODS,
    kinds.EVENTS,
    kinds.SERVICES,
    kinds.HTTP_ROUTES,
    kinds.GATEWAYS,
    kinds.LISTENER_SETS,
    kinds.VIRTUAL_SERVICES,
    kinds.ISTIO_GATEWAYS,
    kinds.OPENSHIFT_ROUTES,
    kinds.INGRESSES,
    kinds.SCALED_OBJECTS,
    kinds.HORIZONTAL_POD_AUTOSCALERS,
    kinds.STATEFUL_SETS,
    kinds.STATEFUL_SET_PODS,
    kinds.LEADER_WORKER_SETS,
    kinds.INFERENCE_SERVICES,
    kinds.DAEMON_SETS,
    kinds.ROLLOUTS,
    kinds.RAY_SERVICES,
    kinds.RAY_CLUSTERS,
    kinds.PLAIN_PODS,
)
TABLE_MEDIA_TYPE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@asynccontextmanager
async def started_session(
    kubeconfig: Path,
    namespace: str | None = None,
    *,
    settled: bool = True,
    timings: ReflectorConfig | None = None,
) -> AsyncIterator[ClusterSession]:
    """A started ClusterSession of one namespace, or of all.

    With `settled`, yields only after every list is complete."""
    target = ConnectionOptions(
        kubeconfig=(kubeconfig,),
        context=None,
        namespace=namespace,
        all_namespaces=namespace is None,
    )
    live = ClusterSession(target, Settings(), reflector_config=timings)
    await live.start()
    try:
        if settled:
            await wait_until(
                lambda: live.state.phase is ReflectorPhase.LIVE and live.state.settled,
                "all lists",
                describe_state=lambda: live.state,
            )
        yield live
    finally:
        await live.close()


async def wait_for_view(
    live: ClusterSession,
    key: NamespacedName,
    condition: Callable[[ServingView], object],
    limit: float = WAIT_SECONDS,
) -> ServingView:
    """The view once it exists and meets the condition. Include data from several kinds (Pods,
    their Deployment, Events) in one condition: each kind is watched separately. A restarted kwok
    waits for the node leases of the previous process, ten seconds or more on a busy machine."""

    def found() -> ServingView | None:
        view = live.fleet.view(key)
        return view if view is not None and condition(view) else None

    view = await wait_until(
        found, f"{key}", limit, describe_state=lambda: (live.state, live.fleet.view(key))
    )
    assert view is not None
    return view


def list_views(
    plane: ControlPlane, namespace: str | None = None
) -> dict[NamespacedName, ServingView]:
    """The servings, computed from fresh lists."""
    fleet = Fleet()
    for kind in FLEET_KINDS:
        query = urlencode(
            {"fieldSelector": kind.field_selector, "labelSelector": kind.label_selector}
        )
        try:
            path = kind.list_path(None if kind in SHARED else namespace)
            items = plane.request("GET", f"{path}?{query}")["items"]
        except RequestError as error:
            if error.status != 404 or not kind.optional:
                raise
            continue
        decoder = RecordDecoder(kind.record_type)
        for item in items:
            record = decoder.decode(json.dumps(item).encode()).record
            if kind.record_filter is None or kind.record_filter(record):
                fleet.apply(RecordChange(kind, "ADDED", record))
    fleet.flush(datetime.now(UTC))
    return {view.key: view for view in fleet.views()}


def diff_views(
    expected: Mapping[NamespacedName, ServingView], actual: Mapping[NamespacedName, ServingView]
) -> list[str]:
    """Each difference between two sets of views as a line; empty if they are equal."""
    lines = [f"{key} is not shown" for key in expected if key not in actual]
    lines += [f"{key} is shown and gone" for key in actual if key not in expected]
    for key in expected.keys() & actual.keys():
        for field in (one for one in fields(ServingView) if one.compare):
            right, left = getattr(expected[key], field.name), getattr(actual[key], field.name)
            if right != left:
                lines.append(f"{key} {field.name}: {left!r} is shown, {right!r} is true")
    return lines


async def assert_matches_cluster(
    live: ClusterSession,
    plane: ControlPlane,
    namespace: str | None = None,
    limit: float = WAIT_SECONDS,
) -> None:
    """Assert that within `limit` s the session equals a fresh list and its Pods the API server's
    table.

    Polls, because a list is slightly ahead of a watch and the cluster keeps changing."""
    deadline = time.monotonic() + limit
    while True:
        try:
            wanted = await asyncio.to_thread(list_views, plane, namespace)
            shown = {view.key: view for view in live.fleet.views()}
            wrong = diff_views(wanted, shown)
            if not wrong:
                wrong = await asyncio.to_thread(diff_pod_table, plane, shown, namespace)
        except (RequestError, OSError) as error:  # the API server is still starting
            wrong = [str(error)]
        if not wrong:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{live.state}\n" + "\n".join(wrong[:20]))
        await asyncio.sleep(0.1)


def diff_pod_table(
    plane: ControlPlane, views: Mapping[NamespacedName, ServingView], namespace: str | None
) -> list[str]:
    """Pods of the views whose columns differ from those that kubectl would print."""
    table = plane.request("GET", kinds.PODS.list_path(namespace), accept=TABLE_MEDIA_TYPE)
    names = [column["name"] for column in table["columnDefinitions"]]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table["rows"]:
        meta = row["object"]["metadata"]
        rows[meta["namespace"], meta["name"]] = dict(zip(names, row["cells"], strict=True))
    wrong = []
    for view in views.values():
        for pod in view.pods:
            row = rows.get((pod.namespace, pod.name))
            if row is None:
                wrong.append(f"{pod.name} is shown and gone")
                continue
            right = (row["Ready"], row["Status"], str(row["Restarts"]).split()[0])
            left = (pod.ready, pod.status, str(pod.restarts))
            if right != left:
                wrong.append(f"{pod.name}: {left} is shown, {right} is in the table")
    return wrong
