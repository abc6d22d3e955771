"""Single parts on made-up data: decoding a Pod, joining a change into the fleet, drawing a line,
keeping a log."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from textual.app import App, ComposeResult

from servedeck.cluster.log_parsing import Splitter
from servedeck.cluster.watch import kinds
from servedeck.cluster.watch.decode import Decoder
from servedeck.cluster.watch.reflector import Change
from servedeck.fleet.fleet import Fleet
from servedeck.serving.text import sanitise
from servedeck.serving.units import age
from tests.control_plane import objects
from widgets.serving_rows import COLUMNS, Rows
from widgets.stream_log import StreamLog
from widgets.table import FleetTable

SERVINGS, PODS = 500, 10
LOG_LINES = "log lines split, sanitised and kept, lines/s"


def microseconds(work: Callable[[], object], times: int) -> float:
    """Best of five rounds, for each call."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - start) / times)
    return round(1e6 * best, 1)


def meta(name: str, kind: str = "", owner: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": name,
        "namespace": "team-1",
        "uid": f"uid-{name}",
        "resourceVersion": "1",
        "creationTimestamp": objects.stamp(3600),
    }
    if owner:
        reference = {"kind": kind, "name": owner, "uid": f"uid-{owner}", "controller": True}
        result["ownerReferences"] = [reference]
    return result


def pod(name: str, replicaset: str, restarts: int = 0) -> bytes:
    """JSON of a Pod as the API server sends it, with the fields that nobody asked for."""
    spec = objects.deployment(name)["spec"]["template"]["spec"]
    spec["nodeName"] = "node-1"
    spec["tolerations"] = [{"key": f"key-{n}", "operator": "Exists"} for n in range(4)]
    spec["volumes"] = [{"name": f"volume-{n}", "emptyDir": {}} for n in range(4)]
    status = objects.serving_status()
    status["containerStatuses"][0]["restartCount"] = restarts
    managed: dict[str, Any] = {
        f"f:field-{n}": {".": {}, "f:inner": {"f:name": {}}} for n in range(80)
    }
    extra = {"labels": {objects.SERVING_LABEL: name}, "managedFields": [{"fieldsV1": managed}]}
    body = {"metadata": meta(name, "ReplicaSet", replicaset) | extra, "spec": spec}
    return json.dumps(body | {"status": status}).encode()


def deployment(name: str) -> bytes:
    body = objects.deployment(name, replicas=PODS)
    body["metadata"] |= meta(name) | {"generation": 1}
    body["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    body["status"] = {"observedGeneration": 1, "replicas": PODS, "updatedReplicas": PODS}
    return json.dumps(body).encode()


def replicaset(name: str, owner: str) -> bytes:
    body = {"metadata": meta(name, "Deployment", owner)}
    body["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    return json.dumps(body).encode()


class TableApp(App[None]):
    """A table alone on the screen."""

    def compose(self) -> ComposeResult:
        yield FleetTable(COLUMNS, format_age=age)


async def drawing(fleet: Fleet) -> dict[str, float]:
    """Microseconds for a line of the table, and for taking one changed row in."""
    app = TableApp()
    async with app.run_test(size=(160, 50)) as pilot:
        table = app.query_one(FleetTable)
        made, views = Rows(), fleet.views()
        table.set_rows(made.of(views))
        await pilot.pause()
        return {
            "table line, µs": microseconds(lambda: table.render_line(20), 200),
            "table rows compared, µs": microseconds(lambda: table.set_rows(made.of(views)), 20),
        }


class LogApp(App[None]):
    """A log alone on the screen."""

    def compose(self) -> ComposeResult:
        yield StreamLog()


async def logging(total: int = 500_000) -> float:
    """Lines a second that are cut out of chunks of 64 KiB and kept, none of them lost."""
    line = b'INFO:     10.42.3.17:51234 - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    data = line * (65_536 // len(line) + 2)
    chunks = [data[at : at + 65_536] for at in range(len(line))]
    app, splitter = LogApp(), Splitter()
    async with app.run_test(size=(160, 50)):
        log = app.query_one(StreamLog)
        start, taken, chunk = time.perf_counter(), 0, 0
        while taken < total:
            lines = [sanitise(raw.decode()) for raw in splitter.feed(chunks[chunk % len(chunks)])]
            log.write_lines(lines)
            taken += len(lines)
            chunk += 1
            await asyncio.sleep(0)
        while len(log.lines) + log.dropped < taken:
            await asyncio.sleep(0.01)
        assert len(log.lines) + log.dropped == taken
        return round(taken / (time.perf_counter() - start))


def run() -> dict[str, float]:
    """All figures by name."""
    now = datetime.now(UTC)
    read_pod, fleet = Decoder(kinds.PODS.record), Fleet()

    def add(kind: kinds.Kind, raw: bytes) -> None:
        fleet.apply(Change(kind, "ADDED", Decoder(kind.record).decode(raw).record))

    for number in range(SERVINGS):
        name = f"srv-{number:03}"
        add(kinds.DEPLOYMENTS, deployment(name))
        add(kinds.REPLICASETS, replicaset(f"{name}-rs", name))
        for replica in range(PODS):
            change = read_pod.decode(pod(f"{name}-{replica}", f"{name}-rs")).record
            fleet.apply(Change(kinds.PODS, "ADDED", change))
    start = time.perf_counter()
    fleet.flush(now)
    whole = time.perf_counter() - start

    raw = pod("srv-007-3", "srv-007-rs")
    changes = [
        Change(kinds.PODS, "MODIFIED", read_pod.decode(pod("srv-007-3", "srv-007-rs", n)).record)
        for n in range(2)
    ]
    turn = 0

    def one() -> None:
        nonlocal turn
        turn += 1
        fleet.apply(changes[turn % 2])
        assert len(fleet.flush(now)) == 1

    return {
        f"decode a Pod of {len(raw)} bytes, µs": microseconds(lambda: read_pod.decode(raw), 500),
        "a changed Pod joined, µs": microseconds(one, 200),
        f"{SERVINGS} servings of {PODS} Pods joined, ms": round(1000 * whole, 1),
        **asyncio.run(drawing(fleet)),
        LOG_LINES: asyncio.run(logging()),
    }
