"""The environment of `benchmarks.async_queue_tab`: a control plane with one serving, and its async
gateway, of two processes on a real Valkey or Redis, behind the API server's Service proxy.

    python -m benchmarks.async_queue_setup load PORT RATE    # until its input ends

submits requests to a gateway, in a process of its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import psutil
import uvloop
import yaml

from benchmarks.gateway import valkey_options
from benchmarks.gateway_load import Load, make_body, make_request
from servedeck.async_queue.tasks import Attempt, TaskState
from servedeck.gateway.identity import Identity
from servedeck.gateway.messages import RequestHead, ResponseHead
from servedeck.gateway.settings import make_settings
from servedeck.gateway.stores.opening import open_store
from servedeck.gateway.stores.store import Content, End, NewTask, TaskStore
from tests.control_plane import pod_statuses
from tests.control_plane.control_plane import ControlPlane, wait_for
from tests.control_plane.processes import ProcessSpawner, terminate
from tests.gateway.valkey_server import ValkeyServer
from tests.waiting import WAIT_SECONDS, wait_until_sync
from widgets.task_rows import short_id

NAMESPACE, SERVING = "chat", "llama"
HELD = 400
"""The newest tasks, which stay pending: their next attempt is a day away."""
FREQUENT, RARE = "org/frequent", "org/rare"
"""Models of one task in 10, and of one in 1,000."""
FAILED_SHARE = 0.01
_PATH = "/v1/chat/completions"
_LIFETIME = 1e6
_ROUND = 5000
"""Tasks that are stored at once."""
_ADMIN_SERVICE = f"{SERVING}-async-admin"


@dataclass
class Environment:
    kubeconfig: Path
    public_port: int
    admin_url: str
    admin_key: str
    held_ends: Mapping[str, str]
    """Ids of the tasks that stay pending, by their ends as the tab shows them."""
    gateway: Sequence[psutil.Process]
    """Its processes, and that of its store."""

    def cancel(self, id: str) -> None:
        self._ask("POST", f"tasks/{id}/cancel")

    def end_of(self, id: str) -> float:
        """When a task ended, by the clock of the store, which is that of this machine."""
        return float(self._ask("GET", f"tasks/{id}")["ended"])

    def completed(self) -> int:
        return int(self._ask("GET", "queue")["counts"]["completed"])

    def backlog(self) -> int:
        """Tasks that wait to be processed, or are."""
        counts = self._ask("GET", "queue")["counts"]
        return int(counts["pending"] + counts["processing"] - counts["delayed"])

    def wait_until_drained(self) -> None:
        wait_until_sync(lambda: not self.backlog(), "the end of all tasks", WAIT_SECONDS)

    def gateway_seconds(self) -> float:
        """CPU seconds of the gateway and its store."""
        return sum(sum(one.cpu_times()[:2]) for one in self.gateway)

    @contextmanager
    def load(self, rate: float) -> Iterator[None]:
        """So many requests a second, each for a task that is completed at once."""
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "load", str(self.public_port), str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield
            output, _ = process.communicate()
            statuses = json.loads(output)
            if set(statuses) != {"202"}:
                raise RuntimeError(f"the gateway answered {statuses}")
        finally:
            process.kill()
            process.wait()

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.admin_url}/-/async/{path}",
            method=method,
            headers={"X-Servedeck-Key": self.admin_key},
        )
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            return json.load(answer)


@contextmanager
def run_environment(tasks: int) -> Iterator[Environment]:
    """Start everything, and store so many tasks: a million takes some minutes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servedeck-queue-")))
        spawner = ProcessSpawner()
        stack.callback(spawner.close)
        valkey = ValkeyServer(folder / "valkey", *valkey_options())
        stack.callback(valkey.close)
        keys = {one: secrets.token_hex(16) for one in ("admin-key", "view-key")}
        for name, value in (*keys.items(), ("secret", secrets.token_hex(32))):
            (folder / name).write_text(value)
        settings = {
            "serving": f"{NAMESPACE}/{SERVING}",
            "store": valkey.url,
            "secret_file": str(folder / "secret"),
            "admin_key_file": str(folder / "admin-key"),
            "view_key_file": str(folder / "view-key"),
            "max_depth": 10_000_000,
            "pod_concurrency": 64,
            "host": "127.0.0.1",
            "port": 0,
            "admin_port": 0,
        }
        # First, as the control plane takes time of the same cores.
        valkey.ask("CONFIG", "SET", "appendfsync", "no")
        held = uvloop.run(_fill(settings, tasks))
        _rewrite(valkey)
        valkey.ask("CONFIG", "SET", "appendfsync", "always")
        server = _start(stack, spawner, folder / "server", "benchmarks.gateway", "stub")
        port = server.wait_for_number(r"^(\d+)\n")
        settings["upstreams"] = [f"http://127.0.0.1:{port}"]
        gateways = []
        for role in ("accept", "deliver"):
            config = folder / f"{role}.yaml"
            config.write_text(yaml.safe_dump(settings | {"role": role}))
            argv = ("servedeck", "gateway", "--config", str(config))
            gateways.append(_start(stack, spawner, folder / role, *argv))
        public_port = gateways[0].wait_for_number(r"Callers are answered on \S+ port (\d+)")
        admin_port = gateways[0].wait_for_number(r"Operators are answered on \S+ port (\d+)")
        processes = [psutil.Process(one.process.pid) for one in gateways]
        number = re.search(r"process_id:(\d+)", valkey.ask("INFO", "server"))
        assert number is not None
        processes.append(psutil.Process(int(number[1])))
        plane = stack.enter_context(ControlPlane(folder / "plane"))
        plane.add_crds()
        plane.add_nodes(1)
        _create_serving(plane, admin_port, keys)
        yield Environment(
            plane.write_kubeconfig(namespace=NAMESPACE),
            public_port,
            f"http://127.0.0.1:{admin_port}",
            keys["admin-key"],
            {short_id(id).lstrip("…"): id for id in held},
            processes,
        )


@dataclass
class _Started:
    process: subprocess.Popen[bytes]
    output: Path

    def wait_for_number(self, pattern: str) -> int:
        """The first group of a pattern, as soon as it is in the output."""

        def found() -> re.Match[str] | None:
            if self.process.poll() is not None:
                raise RuntimeError(self.output.read_text())
            return re.search(pattern, self.output.read_text())

        match = wait_until_sync(found, pattern, WAIT_SECONDS)
        assert match is not None
        return int(match[1])


def _start(
    stack: ExitStack, spawner: ProcessSpawner, output: Path, module: str, *arguments: str
) -> _Started:
    """Run a module; its output is a file."""
    process = spawner.start([sys.executable, "-m", module, *arguments], output)
    stack.callback(terminate, process, signal.SIGKILL)
    return _Started(process, output)


def _rewrite(valkey: ValkeyServer) -> None:
    """Rewrite the append-only file now, so that it is not done while something is measured."""
    valkey.ask("BGREWRITEAOF")
    time.sleep(1)
    wait_until_sync(
        lambda: "aof_rewrite_in_progress:0" in valkey.ask("INFO", "persistence"),
        "the rewritten append-only file",
        10 * WAIT_SECONDS,
    )


# -- tasks ----------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    model: str
    state: TaskState


async def _fill(settings: dict[str, Any], count: int) -> list[str]:
    """Store tasks that have ended, and after them those that stay pending; the ids of these."""
    store = open_store(make_settings(settings | {"upstreams": ["http://127.0.0.1:1"]}))
    await store.open()
    identity = Identity(bytes(32))
    for first in range(0, count - HELD, _ROUND):
        numbers = range(first, min(first + _ROUND, count - HELD))
        kinds = {}
        for number in numbers:
            model = RARE if number % 1000 == 7 else FREQUENT if number % 10 == 3 else "org/llama"
            failed = number % int(1 / FAILED_SHARE) == 0
            kind = _Kind(model, TaskState.FAILED if failed else TaskState.COMPLETED)
            kinds[identity.new_id("")] = kind
        await _submit(store, {id: kind.model for id, kind in kinds.items()})
        await _end(store, kinds)
    held = [identity.new_id("") for _ in range(HELD)]
    await _submit(store, dict.fromkeys(held, "org/held"))
    for id, attempt, *_ in await _claim(store, HELD):
        record = _record(attempt, "The inference server answered 503.")
        await store.retry(id, attempt, 86_400, record)
    await store.close()
    return held


async def _submit(store: TaskStore, models: dict[str, str]) -> None:
    body = make_body()

    async def submit(id: str, model: str) -> None:
        task = NewTask(
            id=id,
            owner="",
            lifetime=_LIFETIME,
            max_attempts=3,
            head=msgspec.json.encode(RequestHead(path=_PATH, model=model)),
            body=Content(body, size=len(body)),
        )
        await store.submit(task, 10_000_000)

    await asyncio.gather(*(submit(id, model) for id, model in models.items()))


async def _claim(store: TaskStore, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        found += await store.claim(
            "fill", ["pod"], limit=500, concurrency=0, pod_concurrency=10_000, lease=3600
        )
    return found


async def _end(store: TaskStore, kinds: dict[str, _Kind]) -> None:
    async def end(id: str, attempt: int) -> None:
        is_failed = kinds[id].state is TaskState.FAILED
        message = "The inference server answered 500." if is_failed else ""
        reason = "upstream_status" if is_failed else ""
        status = 500 if is_failed else 200
        await store.finish(
            End(
                id=id,
                attempt=attempt,
                state=kinds[id].state,
                reason=reason,
                message=message,
                status=status,
                head=msgspec.json.encode(ResponseHead(status=status)),
                body=Content(b"{}", size=2),
                prompt_tokens=120,
                completion_tokens=300,
                record=_record(attempt, message),
                keep=_LIFETIME,
            )
        )

    await asyncio.gather(*(end(id, attempt) for id, attempt, *_ in await _claim(store, len(kinds))))


def _record(attempt: int, message: str) -> Attempt:
    now = time.time()
    return Attempt(attempt=attempt, pod="pod", began=now - 1, ended=now, message=message)


async def _load(port: int, rate: float) -> None:
    """Until the input ends; prints a line when it begins, and the statuses of the answers."""
    request = make_request(make_body())
    load = Load(port, request, connections=64)
    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    print("loading", flush=True)
    while not ended.done():
        await load.run(rate, 1.0)
    load.close()
    print(json.dumps(load.statuses), flush=True)


# -- cluster --------------------------------------------------------------------------------------


def _create_serving(plane: ControlPlane, admin_port: int, keys: dict[str, str]) -> None:
    """A Deployment with one Ready Pod, and the Service for operators of its gateway, which leads
    to this machine."""
    core = f"/api/v1/namespaces/{NAMESPACE}"
    plane.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    container = {
        "name": "inference-server",
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["--model", "org/llama", "--port", "9"],
    }
    plane.create_deployment(
        NAMESPACE, SERVING, replicas=1, hold=True, pod_spec={"containers": [container]}
    )
    [pod] = plane.wait_for_pods(NAMESPACE, SERVING, 1)
    host = _own_address()
    status = pod_statuses.ready_status() | {"podIP": host, "podIPs": [{"ip": host}]}
    plane.set_pod_status(pod, status)
    data = {name: base64.b64encode(key.encode()).decode() for name, key in keys.items()}
    plane.create(f"{core}/secrets", {"metadata": {"name": f"{SERVING}-async"}, "data": data})
    port = {"name": "http-admin", "port": 80, "protocol": "TCP", "targetPort": admin_port}
    plane.create(
        f"{core}/services", {"metadata": {"name": _ADMIN_SERVICE}, "spec": {"ports": [port]}}
    )
    # The API server connects only to the addresses of Pods.
    reference = {"kind": "Pod", "namespace": NAMESPACE, "name": pod["metadata"]["name"]}
    subset = {
        "addresses": [{"ip": host, "targetRef": reference}],
        "ports": [{"name": "http-admin", "port": admin_port, "protocol": "TCP"}],
    }
    plane.create(f"{core}/endpoints", {"metadata": {"name": _ADMIN_SERVICE}, "subsets": [subset]})
    health = f"{core}/services/{_ADMIN_SERVICE}:80/proxy/readyz"
    wait_for(lambda: plane.request("GET", health), "the Service to lead to the gateway")


def _own_address() -> str:
    """An address of this machine that the API server connects to as a Pod's: it refuses those of
    the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


if __name__ == "__main__":
    uvloop.run(_load(int(sys.argv[2]), float(sys.argv[3])))
