"""Whether the picture is the truth: what is shown against a list made this moment."""

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

from servedeck.cluster.auth.kubeconfig import Target
from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.decode import Decoder
from servedeck.cluster.watch.reflector import Change, Phase, Timings
from servedeck.config import Settings
from servedeck.fleet.fleet import Fleet
from servedeck.fleet.session import Live
from servedeck.fleet.views import Key, ServingView
from tests.control_plane.plane import ControlPlane, RequestError
from tests.waiting import LIMIT, until

JOINED = (
    kinds.DEPLOYMENTS,
    kinds.REPLICASETS,
    kinds.PODS,
    kinds.EVENTS,
    kinds.SERVICES,
    kinds.HTTPROUTES,
    kinds.VIRTUAL_SERVICES,
    kinds.INGRESSES,
    kinds.SCALEDOBJECTS,
    kinds.AUTOSCALERS,
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@asynccontextmanager
async def watching(
    kubeconfig: Path,
    namespace: str | None = None,
    *,
    settled: bool = True,
    timings: Timings | None = None,
) -> AsyncIterator[Live]:
    """A started Live of one namespace, or of all; with `settled` not before all lists are in."""
    target = Target(
        kubeconfig=(kubeconfig,),
        context=None,
        namespace=namespace,
        all_namespaces=namespace is None,
    )
    live = Live(target, Settings(), timings=timings)
    await live.start()
    try:
        if settled:
            await until(
                lambda: live.state.phase is Phase.LIVE and live.state.settled,
                "all lists",
                sign=lambda: live.state,
            )
        yield live
    finally:
        await live.close()


async def shown(
    live: Live, key: Key, condition: Callable[[ServingView], object], limit: float = LIMIT
) -> ServingView:
    """The view once it is there and the condition holds. What several kinds tell (Pods, their
    Deployment, Events) belongs into the condition as a whole: each is watched by itself. A kwok
    that was just started anew waits for its forerunner's leases on the nodes, ten seconds and more
    on a busy machine."""

    def found() -> ServingView | None:
        view = live.fleet.view(key)
        return view if view is not None and condition(view) else None

    view = await until(found, f"{key}", limit, sign=lambda: (live.state, live.fleet.view(key)))
    assert view is not None
    return view


def listed(plane: ControlPlane, namespace: str | None = None) -> dict[Key, ServingView]:
    """The servings by a list made now and joined from scratch."""
    fleet = Fleet()
    for kind in JOINED:
        query = f"?fieldSelector={kind.field_selector}" if kind.field_selector else ""
        try:
            items = plane.request("GET", kind.path(namespace) + query)["items"]
        except RequestError as error:
            if error.status != 404 or not kind.optional:
                raise
            continue
        decoder = Decoder(kind.record)
        for item in items:
            record = decoder.decode(json.dumps(item).encode()).record
            if kind.keep is None or kind.keep(record):
                fleet.apply(Change(kind, "ADDED", record))
    fleet.flush(datetime.now(UTC))
    return {view.key: view for view in fleet.views()}


def differences(wanted: Mapping[Key, ServingView], shown: Mapping[Key, ServingView]) -> list[str]:
    """Each difference between two pictures as a line; none where they are equal."""
    lines = [f"{key} is not shown" for key in wanted if key not in shown]
    lines += [f"{key} is shown and gone" for key in shown if key not in wanted]
    for key in wanted.keys() & shown.keys():
        for field in fields(ServingView):
            right, left = getattr(wanted[key], field.name), getattr(shown[key], field.name)
            if right != left:
                lines.append(f"{key} {field.name}: {left!r} is shown, {right!r} is true")
    return lines


async def assert_true(
    live: Live, plane: ControlPlane, namespace: str | None = None, limit: float = LIMIT
) -> None:
    """What Live holds equals a fresh list, and its Pods the API server's own table, within `limit`
    seconds: a list is ahead of a watch by a moment, and the cluster goes on meanwhile."""
    deadline = time.monotonic() + limit
    while True:
        try:
            wanted = await asyncio.to_thread(listed, plane, namespace)
            shown = {view.key: view for view in live.fleet.views()}
            wrong = differences(wanted, shown)
            if not wrong:
                wrong = await asyncio.to_thread(unlike_table, plane, shown, namespace)
        except (RequestError, OSError) as error:  # the API server is still coming up
            wrong = [str(error)]
        if not wrong:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{live.state}\n" + "\n".join(wrong[:20]))
        await asyncio.sleep(0.1)


def unlike_table(
    plane: ControlPlane, shown: Mapping[Key, ServingView], namespace: str | None
) -> list[str]:
    """Pods of the views whose columns are not those that kubectl would print."""
    table = plane.request("GET", kinds.PODS.path(namespace), accept=TABLE)
    names = [column["name"] for column in table["columnDefinitions"]]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table["rows"]:
        meta = row["object"]["metadata"]
        rows[meta["namespace"], meta["name"]] = dict(zip(names, row["cells"], strict=True))
    wrong = []
    for view in shown.values():
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
