"""A source of servings that tests fill by hand, in place of a ClusterSession."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import ContainerView, EventView, NamespacedName, PodView, ServingView
from servedeck.logs.instances import LogSelection
from servedeck.logs.lines import NOTICE_SOURCE, LineBatch, LogSource, ns_to_stamp
from servedeck.logs.streams import LogSince, StreamsState
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.objects.records import Deployment, Event, ObjectReference
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.rollout import BLOCKED_BADGE
from servedeck.serving.status.status import Status

NOW = datetime(2026, 11, 23, 3, 0, 0, tzinfo=UTC)


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


class FakePhase(StrEnum):
    CONNECTING = "connecting"
    LISTING = "listing"
    LIVE = "live"
    RETRYING = "retrying"
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    UNAUTHORIZED = "unauthorized"


@dataclass(frozen=True)
class FakeState:
    phase: FakePhase = FakePhase.LIVE
    message: str = ""
    last_update_at: datetime | None = None
    loaded: int = 0
    remaining: int | None = None
    missing_permissions: tuple[str, ...] = ()
    stale_for: float | None = None
    clock_warning: str = ""


@dataclass(frozen=True)
class FakeChanges:
    keys: frozenset[NamespacedName] = frozenset()
    state_changed: bool = False


class FakeViews:
    def __init__(self) -> None:
        self.by_key: dict[NamespacedName, ServingView] = {}
        self.deployments: dict[NamespacedName, Deployment] = {}
        self.related: dict[NamespacedName, list[ObjectReference]] = {}
        self.warnings: dict[NamespacedName, list[Event]] = {}

    def deployment(self, key: NamespacedName) -> Deployment | None:
        return self.deployments.get(key)

    def related_objects(self, key: NamespacedName) -> list[ObjectReference]:
        return self.related.get(key, [])

    def warning_events(self, key: NamespacedName) -> list[Event]:
        return self.warnings.get(key, [])

    def view(self, key: NamespacedName) -> ServingView | None:
        return self.by_key.get(key)

    def views(self) -> list[ServingView]:
        return list(self.by_key.values())


@dataclass
class FakeSource:
    """Views and state are set by the test, which publishes them with `notify_changed`."""

    state: FakeState = field(default_factory=FakeState)
    context: str = "prod-seoul"
    contexts: tuple[str, ...] = ("prod-seoul", "staging", "lab")
    new_contexts: tuple[str, ...] = ()
    """Contexts that the kubeconfig has when it is read again."""
    namespace: str = ""
    fleet: FakeViews = field(default_factory=FakeViews)
    callbacks: list[Callable[[Any], None]] = field(default_factory=list)
    started: bool = False
    retry_count: int = 0
    prioritized: list[NamespacedName | None] = field(default_factory=list)
    switch_calls: list[tuple[str | None, str | None]] = field(default_factory=list)
    is_busy: Callable[[], bool] = lambda: False

    def add_views(self, *views: ServingView) -> FakeSource:
        for view in views:
            self.fleet.by_key[view.key] = view
        self.notify_changed(view.key for view in views)
        return self

    def remove_view(self, key: NamespacedName) -> None:
        del self.fleet.by_key[key]
        self.notify_changed([key])

    def set_state(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        for callback in self.callbacks:
            callback(FakeChanges(state_changed=True))

    def notify_changed(self, keys: Iterable[NamespacedName]) -> None:
        changed = FakeChanges(frozenset(keys))
        for callback in self.callbacks:
            callback(changed)

    def subscribe(self, callback: Callable[[Any], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    async def read_contexts(self) -> tuple[str, ...]:
        self.contexts += tuple(name for name in self.new_contexts if name not in self.contexts)
        return self.contexts

    async def start(self) -> None:
        self.started = True

    async def close(self) -> None:
        self.started = False

    def retry_now(self) -> None:
        self.retry_count += 1

    def prioritize(self, key: NamespacedName | None) -> None:
        self.prioritized.append(key)

    def hold_while(self, is_busy: Callable[[], bool]) -> None:
        self.is_busy = is_busy

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        self.switch_calls.append((context, namespace))


class FakeLogStreams:
    """Streams of a FakeLogService: what it has of each chosen container, then what is written."""

    def __init__(
        self,
        service: FakeLogService,
        since: LogSince,
        on_batch: Callable[[LineBatch], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> None:
        self.since = since
        self.sources = [LogSource(NOTICE_SOURCE, "", "", "")]
        self.state = StreamsState(wanted=0, open=0, caught_up=False)
        self.selection: LogSelection | None = None
        self.closed = False
        self._service, self._on_batch, self._on_change = service, on_batch, on_change
        self._tasks: dict[tuple[str, str, str, bool], asyncio.Task[None]] = {}

    def set_state(self, **changes: Any) -> None:
        """Whether lines arrive, as the screen is told."""
        self.state = replace(self.state, **changes)
        self._on_change()

    def update(self, pods: Sequence[PodView], selection: LogSelection) -> None:
        self.selection = selection
        for pod in pods:
            for one in pod.containers:
                key = (pod.namespace, pod.name, one.name, False)
                if key in self._tasks or not _is_selected(pod, one, selection):
                    continue
                if selection.previous:
                    self._tasks[*key[:3], True] = asyncio.create_task(self._read(key, True))
                self._tasks[key] = asyncio.create_task(self._read(key, False))
        count = sum(not key[3] for key in self._tasks)
        self.set_state(wanted=count, open=count)

    async def _read(self, key: tuple[str, str, str, bool], previous: bool) -> None:
        service, number = self._service, len(self.sources)
        self.sources.append(LogSource(number, *key[:3], restart_count=0 if previous else 1))
        key = (*key[:3], previous)
        if isinstance(service.error, ClusterError):
            self.set_state(refusals=(str(service.error),), open=0)
            return
        service.open_streams_now.append(key)
        try:
            lines = service.lines.get(key, [])
            tail = self.since.tail
            await self.write(number, lines if tail is None else lines[-tail:])
            self.set_state(caught_up=True)
            while not previous:
                batch = await service.queue(key).get()
                if batch is None:
                    self.set_state(finished=True)
                    return
                await self.write(number, batch)
        finally:
            service.open_streams_now.remove(key)

    async def write(self, number: int, lines: Sequence[str | bytes]) -> None:
        """Lines of a source arrive, a second apart from those before."""
        if not lines:
            return
        stamps = []
        for _ in lines:
            self._service.seconds += 1
            stamps.append(ns_to_stamp(int((NOW.timestamp() + self._service.seconds) * 1e9)))
        texts = [
            line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
            for line in lines
        ]
        await self._on_batch(LineBatch(stamps, texts, [number] * len(lines)))

    async def close(self) -> None:
        self.closed = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._on_change = lambda: None  # a closed screen is not kept
        del self._on_batch


def _is_selected(pod: PodView, one: ContainerView, selection: LogSelection) -> bool:
    return (selection.pods is None or pod.name in selection.pods) and (
        selection.containers is None or one.name in selection.containers
    )


class FakeLogService:
    """Logs by (namespace, pod, container, previous); a live one can be written to."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str, str, bool], list[str]] = {}
        self.requested_logs: list[tuple[str, str, str, bool]] = []
        self.queues: dict[tuple[str, str, str, bool], asyncio.Queue[list[str] | None]] = {}
        self.open_streams_now: list[tuple[str, str, str, bool]] = []
        self.error: Exception | None = None
        self.namespace_names: list[str] = []
        self.opened: list[FakeLogStreams] = []
        """The streams that were opened, the newest last."""
        self.seconds = -1000
        """Time of the newest line, from NOW on."""

    async def list_namespaces(self) -> list[str]:
        return self.namespace_names

    def queue(self, key: tuple[str, str, str, bool]) -> asyncio.Queue[list[str] | None]:
        return self.queues.setdefault(key, asyncio.Queue())

    def open_streams(
        self,
        since: LogSince,
        on_batch: Callable[[LineBatch], Awaitable[None]],
        on_change: Callable[[], None],
    ) -> FakeLogStreams:
        if self.error is not None and not isinstance(self.error, ClusterError):
            raise self.error
        self.opened.append(FakeLogStreams(self, since, on_batch, on_change))
        return self.opened[-1]

    async def read_last_lines(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool = False
    ) -> list[str]:
        key = (namespace, pod, container, previous)
        self.requested_logs.append(key)
        if self.error is not None:
            raise self.error
        return self.lines.get(key, [])[-tail:]


# -- servings -----------------------------------------------------------------------------------

CRASHED_CONTAINER = "inference-server"


def container(name: str = CRASHED_CONTAINER, **changes: Any) -> ContainerView:
    base = ContainerView(
        name=name,
        state="Running",
        ready=True,
        restarts=0,
        init=False,
        has_previous=False,
        container_id=f"containerd://{name}",
    )
    return replace(base, **changes)


def pod(name: str, namespace: str = "team-a", **changes: Any) -> PodView:
    base = PodView(
        name=name,
        namespace=namespace,
        uid=f"uid-{name}",
        status="Running",
        ready="1/1",
        is_ready=True,
        restarts=0,
        last_finished_at=None,
        node="gpu-node-1",
        created=ago(days=3),
        health=PodHealth.OK,
        reason="",
        message="",
        container="",
        old_revision=False,
        containers=(container(),),
        events=(),
    )
    return replace(base, **changes)


def crashing_pod(name: str, namespace: str = "team-a", restarts: int = 7) -> PodView:
    return pod(
        name,
        namespace,
        status="CrashLoopBackOff",
        ready="0/1",
        is_ready=False,
        restarts=restarts,
        last_finished_at=ago(minutes=2),
        health=PodHealth.ERROR,
        reason="OOMKilled",
        message="inference-server was killed for using more memory than its limit of 80Gi"
        " (exit code 137).",
        container=CRASHED_CONTAINER,
        containers=(container(state="Waiting", ready=False, restarts=restarts, has_previous=True),),
        events=(
            EventView(
                ago(seconds=40),
                "Warning",
                "BackOff",
                "Back-off restarting failed container inference-server in pod " + name,
                23,
            ),
            EventView(
                ago(minutes=3),
                "Warning",
                "Unhealthy",
                "Startup probe failed: Get http://10.0.3.17:8000/health: connection refused",
                4,
            ),
        ),
    )


def serving(name: str, namespace: str = "team-a", **changes: Any) -> ServingView:
    key = NamespacedName(namespace, name)
    base = ServingView(
        key=key,
        uid=f"uid-{key}",
        status=Status.READY,
        reason="",
        message="",
        failing=0,
        rollout="",
        ready=2,
        desired=2,
        template="vllm",
        model="meta-llama/Llama-3.1-8B-Instruct",
        accelerator="NVIDIA GPU",
        accelerator_resource="nvidia.com/gpu",
        accelerator_count=1,
        restarts=0,
        endpoint=Endpoint(
            url=f"https://serve.example.com/{namespace}/{name}",
            source=f"HTTPRoute {namespace}/{name}",
            cluster_url=f"http://{name}.{namespace}.svc:80",
            service_name=name,
            port=80,
            model="meta-llama/Llama-3.1-8B-Instruct",
            port_forward_command=f"kubectl port-forward -n {namespace} service/{name} 8080:80",
        ),
        autoscaler="",
        image="vllm/vllm-openai:v0.11.0",
        server_container="inference-server",
        created=ago(days=12),
        labels={"app": name},
        description="",
        managed=True,
        pods=(pod(f"{name}-7d9c-x2x1q", namespace), pod(f"{name}-7d9c-b8k2m", namespace)),
        events=(),
    )
    return replace(base, **changes)


def fleet() -> list[ServingView]:
    """Servings in all six states."""
    return [
        serving(
            "llama-70b-chat",
            status=Status.ERROR,
            reason="OOMKilled",
            message="inference-server was killed for using more memory than its limit of 80Gi"
            " (exit code 137).",
            failing=2,
            ready=0,
            restarts=14,
            model="meta-llama/Llama-3.3-70B-Instruct",
            accelerator_count=4,
            created=ago(hours=5, minutes=12),
            pods=(
                crashing_pod("llama-70b-chat-6b8f-9qk2x"),
                crashing_pod("llama-70b-chat-6b8f-vv7tz"),
            ),
        ),
        serving(
            "embed-large",
            "search",
            status=Status.ERROR,
            reason="exit code 1",
            message="inference-server exited with code 1: ValueError: max_model_len 65536 is"
            " larger than the model's 32768.",
            failing=1,
            ready=0,
            desired=1,
            restarts=31,
            model="BAAI/bge-m3",
            created=ago(minutes=41),
            pods=(
                replace(
                    crashing_pod("embed-large-55c-zzx9p", "search", 31),
                    reason="exit code 1",
                    status="Error",
                ),
            ),
        ),
        serving(
            "qwen-coder",
            "platform",
            status=Status.DEGRADED,
            reason="CUDA error",
            message="inference-server exited with code 134: CUDA error: an illegal memory"
            " access was encountered.",
            failing=1,
            ready=2,
            desired=3,
            restarts=3,
            model="Qwen/Qwen2.5-Coder-32B-Instruct",
            accelerator_count=2,
            rollout="updating 1/3",
            created=ago(days=2, hours=3),
        ),
        serving(
            "exaone-rngd",
            "research",
            status=Status.PENDING,
            reason="Unschedulable",
            message="0/6 nodes are available: 4 Insufficient furiosa.ai/rngd, 2 node(s) had"
            " untolerated taint {dedicated: batch}.",
            failing=1,
            ready=0,
            desired=1,
            template="furiosa-llm",
            model="LGAI-EXAONE/EXAONE-3.5-32B-Instruct",
            accelerator="Furiosa RNGD",
            accelerator_resource="furiosa.ai/rngd",
            accelerator_count=2,
            endpoint=Endpoint(issue="No route to the serving."),
            created=ago(minutes=9, seconds=30),
            pods=(
                pod(
                    "exaone-rngd-84f-7hx2c",
                    "research",
                    status="Pending",
                    ready="0/1",
                    is_ready=False,
                    node="",
                    health=PodHealth.PENDING,
                    reason="Unschedulable",
                    message="0/6 nodes are available: 4 Insufficient furiosa.ai/rngd, 2 node(s)"
                    " had untolerated taint {dedicated: batch}.",
                    containers=(container(state="", ready=False, container_id=""),),
                ),
            ),
        ),
        serving(
            "mistral-small",
            "platform",
            status=Status.STARTING,
            message="Loading the model.",
            ready=0,
            desired=1,
            model="mistralai/Mistral-Small-24B-Instruct-2501",
            created=ago(seconds=75),
            pods=(
                pod(
                    "mistral-small-9c-qq2wz",
                    "platform",
                    ready="0/1",
                    is_ready=False,
                    health=PodHealth.STARTING,
                ),
            ),
        ),
        serving("llama-8b", created=ago(days=40)),
        serving("gemma-3-27b", "search", model="google/gemma-3-27b-it", accelerator_count=2),
        serving("whisper-large", "research", template="custom", model="openai/whisper-large-v3"),
        serving("bge-reranker", "search", model="BAAI/bge-reranker-v2-m3", accelerator=""),
        serving("phi-4", "platform", model="microsoft/phi-4", restarts=2),
        serving(
            "deepseek-r1-distill",
            "research",
            status=Status.SCALED_DOWN,
            ready=0,
            desired=0,
            model="deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
            pods=(),
        ),
    ]


CRASH_LINES = [
    "INFO 11-23 02:57:41 [core.py:58] Initializing a V1 LLM engine (v0.11.0) with config: model=",
    "INFO 11-23 02:57:55 [gpu_model_runner.py:1843] Model loading took 131.4 GiB and 71 seconds",
    "WARNING 11-23 02:57:58 [worker.py:211] Free host memory is below 2 GiB",
    "ERROR 11-23 02:58:01 [core.py:402] EngineCore failed to start.",
    "RuntimeError: DataLoader worker (pid 412) is killed by signal: Killed.",
]


def blocked_rollout() -> ServingView:
    """Its new Pod waits for the accelerators that its old Pod holds."""
    unscheduled = (
        "0 of 3 nodes fit: 1 without enough free nvidia.com/gpu, 2 with an untolerated taint; it "
        "requests 8 NVIDIA GPU on one node"
    )
    name = "llama-405b-chat"
    new = pod(
        f"{name}-7c9d-x4k2p",
        status="Pending",
        ready="0/1",
        is_ready=False,
        node="",
        created=ago(minutes=6),
        health=PodHealth.PENDING,
        reason="Unschedulable",
        message=unscheduled,
        containers=(container(state="", ready=False),),
    )
    return serving(
        name,
        reason="Unschedulable",
        message=unscheduled,
        failing=1,
        ready=1,
        desired=1,
        model="meta-llama/Llama-3.1-405B-Instruct-FP8",
        accelerator_count=8,
        rollout=BLOCKED_BADGE,
        rollout_message="A new Pod needs 8 NVIDIA GPU, which the old Pod of this serving holds; "
        "with maxUnavailable 25% (0 Pods) no old Pod stops before a new one is available, so the "
        "rollout waits.",
        rollout_way_out="replace",
        pods=(new, pod(f"{name}-55f8-n8wzt", old_revision=True)),
    )


def crash_log_service() -> FakeLogService:
    """Logs of the crashed containers."""
    fake = FakeLogService()
    for name in ("llama-70b-chat-6b8f-9qk2x", "llama-70b-chat-6b8f-vv7tz"):
        fake.lines["team-a", name, CRASHED_CONTAINER, True] = list(CRASH_LINES)
    return fake
