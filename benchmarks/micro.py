"""Microbenchmarks on synthetic data: decoding a Pod, applying a change to the fleet, rendering a
line, appending to a log."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from textual.app import App, ComposeResult

from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.cluster.watch.reflector import RecordChange
from servedeck.fleet.fleet import Fleet
from servedeck.logs.line_splitter import LineSplitter
from servedeck.serving.duration import format_duration
from servedeck.serving.text import sanitize
from tests.control_plane import objects, pod_statuses
from widgets.log_view import LogView
from widgets.recent_lines import RecentLines
from widgets.serving_rows import COLUMNS, ServingRowBuilder
from widgets.table import KeyedTable

SERVINGS, PODS = 500, 10
LOG_LINES_FIGURE = "log lines split, sanitized and kept, lines/s"


def time_microseconds(func: Callable[[], object], repeats: int) -> float:
    """Best of five rounds, per call."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            func()
        best = min(best, (time.perf_counter() - start) / repeats)
    return round(1e6 * best, 1)


def object_metadata(name: str, kind: str = "", owner: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": name,
        "namespace": "team-1",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": objects.timestamp(3600),
    }
    if owner:
        reference = {"kind": kind, "name": owner, "uid": f"uid-{owner}", "controller": True}
        result["ownerReferences"] = [reference]
    return result


def pod_json(name: str, replicaset: str, restarts: int = 0) -> bytes:
    """JSON of a Pod as the API server sends it, including fields that servedeck does not use."""
    spec = objects.deployment(name)["spec"]["template"]["spec"]
    spec["nodeName"] = "node-1"
    spec["tolerations"] = [{"key": f"key-{n}", "operator": "Exists"} for n in range(4)]
    spec["volumes"] = [{"name": f"volume-{n}", "emptyDir": {}} for n in range(4)]
    status = pod_statuses.ready_status()
    status["containerStatuses"][0]["restartCount"] = restarts
    managed: dict[str, Any] = {
        f"f:field-{n}": {".": {}, "f:inner": {"f:name": {}}} for n in range(80)
    }
    extra = {"labels": {objects.SERVING_LABEL: name}, "managedFields": [{"fieldsV1": managed}]}
    body = {"metadata": object_metadata(name, "ReplicaSet", replicaset) | extra, "spec": spec}
    return json.dumps(body | {"status": status}).encode()


def deployment_json(name: str) -> bytes:
    body = objects.deployment(name, replicas=PODS)
    body["metadata"] |= object_metadata(name) | {"generation": 1}
    body["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    body["status"] = {"observedGeneration": 1, "replicas": PODS, "updatedReplicas": PODS}
    return json.dumps(body).encode()


def replicaset_json(name: str, owner: str) -> bytes:
    body = {"metadata": object_metadata(name, "Deployment", owner)}
    body["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    return json.dumps(body).encode()


class TableApp(App[None]):
    """An app with only a table."""

    def compose(self) -> ComposeResult:
        yield KeyedTable(COLUMNS, format_age=format_duration)


async def measure_table(fleet: Fleet) -> dict[str, float]:
    """Microseconds to render a line of the table, and to apply one changed row."""
    app = TableApp()
    async with app.run_test(size=(160, 50)) as pilot:
        table = app.query_one(KeyedTable)
        made, views = ServingRowBuilder(), fleet.views()
        table.set_rows(made.build_rows(views))
        await pilot.pause()
        return {
            "table line, µs": time_microseconds(lambda: table.render_line(20), 200),
            "table rows compared, µs": time_microseconds(
                lambda: table.set_rows(made.build_rows(views)), 20
            ),
        }


class LogApp(App[None]):
    """An app with only a log."""

    def compose(self) -> ComposeResult:
        yield LogView()


async def measure_log(line_count: int = 500_000) -> float:
    """Lines per second that are split from chunks of 64 KiB and stored, none of them lost."""
    line = b'INFO:     10.42.3.17:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    data = line * (65_536 // len(line) + 2)
    chunks = [data[at : at + 65_536] for at in range(len(line))]
    app, splitter = LogApp(), LineSplitter()
    async with app.run_test(size=(160, 50)):
        log, lines = app.query_one(LogView), RecentLines(10_000)
        log.show(lines, lines.row)
        start, taken, chunk = time.perf_counter(), 0, 0
        while taken < line_count:
            texts = [sanitize(raw.decode()) for raw in splitter.feed(chunks[chunk % len(chunks)])]
            lines.extend(texts)
            log.note_appended()
            taken += len(texts)
            chunk += 1
            await asyncio.sleep(0)
        assert lines.count + lines.dropped_count == taken
        return round(taken / (time.perf_counter() - start))


def run_all() -> dict[str, float]:
    """All results by name."""
    now = datetime.now(UTC)
    read_pod, fleet = RecordDecoder(kinds.PODS.record_type), Fleet()

    def add(kind: kinds.ResourceKind, raw: bytes) -> None:
        fleet.apply(RecordChange(kind, "ADDED", RecordDecoder(kind.record_type).decode(raw).record))

    for number in range(SERVINGS):
        name = f"srv-{number:03}"
        add(kinds.DEPLOYMENTS, deployment_json(name))
        add(kinds.REPLICA_SETS, replicaset_json(f"{name}-rs", name))
        for replica in range(PODS):
            change = read_pod.decode(pod_json(f"{name}-{replica}", f"{name}-rs")).record
            fleet.apply(RecordChange(kinds.PODS, "ADDED", change))
    start = time.perf_counter()
    fleet.flush(now)
    whole = time.perf_counter() - start

    raw = pod_json("srv-007-3", "srv-007-rs")
    changes = [
        RecordChange(
            kinds.PODS, "MODIFIED", read_pod.decode(pod_json("srv-007-3", "srv-007-rs", n)).record
        )
        for n in range(2)
    ]
    turn = 0

    def one() -> None:
        nonlocal turn
        turn += 1
        fleet.apply(changes[turn % 2])
        assert len(fleet.flush(now)) == 1

    return {
        f"decode a Pod of {len(raw)} bytes, µs": time_microseconds(
            lambda: read_pod.decode(raw), 500
        ),
        "a changed Pod joined, µs": time_microseconds(one, 200),
        f"{SERVINGS} servings of {PODS} Pods joined, ms": round(1000 * whole, 1),
        **asyncio.run(measure_table(fleet)),
        LOG_LINES_FIGURE: asyncio.run(measure_log()),
    }
