"""The demo scenario: a dozen servings in all six states, and incidents that change them.

Each incident occurs every few minutes and alternates between breaking and repairing something. It
reads the objects before it acts, and leaves alone a serving that somebody else has changed, so
that it never undoes what an operator did.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from servedeck.demo.api.defaults import set_defaults
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import ControllerManager
from servedeck.demo.controllers.base import condition_is_true
from servedeck.demo.resources import DEPLOYMENTS, NODES, PODS, SECRETS
from servedeck.demo.scenario import (
    async_gateways,
    cluster_objects,
    scaling,
    serving_objects,
    temperature,
)
from servedeck.demo.scenario.cluster_objects import TOKEN_SECRET
from servedeck.demo.scenario.inference_pool import pool_objects
from servedeck.demo.scenario.servings import OLDER_VLLM_IMAGE, SERVINGS, VLLM_IMAGE, DemoServing
from servedeck.demo.store.objects import Json, Key
from servedeck.demo.store.store import ObjectStore
from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.request_load import LoadPeak

Edit = Callable[[Json], None]
_DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3600.0
_HISTORY_SECONDS = 32 * _DAY_SECONDS
"""The simulated past before the demo opens; the oldest serving is that old."""
_PEAKS = (
    ("chat/llama-31-8b", 5.2, LoadPeak(0.0, 2700.0, more=1.1, slow=1.0, failed=0.14)),
    ("search/bge-m3", 11.3, LoadPeak(0.0, 1800.0, more=0.8, slow=0.7, failed=0.09)),
    ("chat/llama-33-70b", 16.4, LoadPeak(0.0, 3600.0, more=0.5, slow=0.4, failed=0.02)),
    ("vision/table-ocr", 7.6, LoadPeak(0.0, 1500.0, more=1.4, slow=1.2, failed=0.2)),
    ("npu-lab/exaone-35-78b", 9.1, LoadPeak(0.0, 2400.0, more=0.7, slow=0.5, failed=0.0)),
)
"""Servings, how many hours ago each peak began, and the peak."""


@dataclass
class Incident:
    """`toggle` breaks or repairs something and returns whether it did. `interval` is the range of
    seconds between two calls."""

    name: str
    toggle: Callable[[random.Random], bool]
    interval: tuple[float, float]
    first_interval: tuple[float, float] | None = None


class Scenario:
    """Fills an empty store with the initial state, then runs the incidents."""

    def __init__(
        self, store: ObjectStore, clock: Clock, controllers: ControllerManager, seed: int = 0
    ) -> None:
        self._store = store
        self._clock = clock
        self._controllers = controllers
        self._seed = seed
        self._generations: dict[Key, int] = {}
        self._past_controller: temperature.PastTemperatureController | None = None
        self.history: list[str] = []
        """"TIMESTAMP NAME" of the last incidents, newest last."""

    # -- initial state-----------------------------------------------------------------------------

    @staticmethod
    def start_time(now: float) -> float:
        """The time at which the clock must be before `create_initial_state(now)`."""
        return now - _HISTORY_SECONDS

    def create_initial_state(self, now: float) -> None:
        """Creates all objects and simulates the past up to `now`."""
        clock, create = self._clock, self._store.create
        for resource, obj in cluster_objects.base_objects():
            create(resource, obj)
        for resource, obj in (*cluster_objects.prometheus_objects(), *pool_objects()):
            set_defaults(resource, obj)
            create(resource, obj)
        self._past_controller = temperature.PastTemperatureController(self._store, clock)
        for serving in SERVINGS:
            clock.call_at(
                now - serving.age_days * _DAY_SECONDS, partial(self._create_serving, serving, now)
            )
        self._schedule_past(now)
        clock.run_until(now)
        self._store_generations()

    def _create_serving(self, serving: DemoServing, now: float) -> None:
        for resource, obj in serving_objects.objects_of(serving, now):
            if serving.key == temperature.SERVING and resource is DEPLOYMENTS:
                temperature.add_policy(obj)
            if serving.key == ("chat", "exaone-40-32b") and resource is DEPLOYMENTS:
                obj["spec"]["replicas"] = 2
            if serving.key == ("research", "llama-32-3b") and resource is DEPLOYMENTS:
                obj["spec"]["replicas"] = 2
            if serving.key == ("chat", "llama-31-8b") and resource is DEPLOYMENTS:
                _container_of(obj)["image"] = "vllm/vllm-openai:v0.31.0"
                obj["spec"]["replicas"] = 2
            if serving.key == ("agents", "gpt-oss-20b") and resource is DEPLOYMENTS:
                obj["spec"]["replicas"] = 1
            self._store.create(resource, obj)

    def _schedule_past(self, now: float) -> None:
        """Schedules the edits and crashes of the simulated past."""
        at = self._clock.call_at

        def ago(seconds: float, what: Callable[[], object]) -> None:
            at(now - seconds, lambda: (what(), None)[1])

        edit = self._edit_deployment
        chat, exaone = ("chat", "llama-31-8b"), ("chat", "exaone-40-32b")
        ago(6.2 * _DAY_SECONDS, lambda: edit(chat, _set_image(OLDER_VLLM_IMAGE)))
        ago(2.3 * _DAY_SECONDS, lambda: edit(chat, _set_replicas(3)))
        ago(
            3.1 * _DAY_SECONDS,
            lambda: self._crash_first(("chat", "llama-33-70b"), FailureCause.DEVICE_ERROR),
        )
        ago(0.6 * _DAY_SECONDS, lambda: edit(("agents", "gpt-oss-20b"), _set_replicas(0)))
        ago(1.4 * _DAY_SECONDS, lambda: self._crash_first(("search", "bge-m3"), FailureCause.LEAK))
        self._schedule_last_day(now)
        for key in async_gateways.ASYNC_SERVINGS:
            turned_on = async_gateways.HOURS_AGO * _HOUR_SECONDS
            ago(turned_on, partial(async_gateways.turn_on, self._store, key))
        for serving in SERVINGS:
            if serving.key in scaling.SCALED_SERVINGS:
                create = partial(self._store.create, *scaling.scaled_object(serving))
                ago(scaling.SECONDS_AGO, create)
        ago(2400, lambda: edit(exaone, _set_replicas(3)))
        ago(2100, lambda: edit(("research", "llama-32-3b"), _set_replicas(3)))

    def _schedule_last_day(self, now: float) -> None:
        """Schedules what the metrics of the last 24 hours show: too many requests, during which
        Pods crash, replicas more and fewer, and a rollout."""
        chat, search = ("chat", "llama-31-8b"), ("search", "bge-m3")
        add_peak, edit = self._controllers.traffic.add_peak, self._edit_deployment
        for serving, hours_ago, peak in _PEAKS:
            add_peak(serving, peak._replace(begin=now - hours_ago * _HOUR_SECONDS))
        steps: tuple[tuple[float, Callable[[], object]], ...] = (
            (14.0, lambda: edit(search, _set_replicas(3))),
            (11.2, lambda: self._crash_first(search, FailureCause.LEAK)),
            (8.0, lambda: edit(search, _set_replicas(2))),
            (5.0, lambda: self._crash_first(chat, FailureCause.DEVICE_ERROR)),
            (4.9, lambda: edit(chat, _set_replicas(4))),
            (3.5, lambda: edit(chat, _set_replicas(3))),
            (2.8, lambda: self._restart_pods(chat)),
        )
        for hours_ago, step in steps:
            self._clock.call_at(now - hours_ago * _HOUR_SECONDS, partial(_call, step))

    def _store_generations(self) -> None:
        for deployment in self._store.list(DEPLOYMENTS):
            key = (deployment["metadata"]["namespace"], deployment["metadata"]["name"])
            self._generations[key] = deployment["metadata"]["generation"]

    def leave_temperatures_to_controller(self) -> None:
        """From now on `servedeck controller` lets Pods with a temperature policy into traffic."""
        if self._past_controller is not None:
            self._past_controller.stop()
            self._past_controller = None

    # -- incidents ---------------------------------------------------------------------------------

    def start_incidents(self) -> None:
        """Schedules the incidents; they occur when the clock runs."""
        if not self._generations:
            self._store_generations()
        for incident in self._incidents():
            seed = f"{self._seed}/{incident.name}"
            rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
            self._schedule(incident, rng, incident.first_interval or incident.interval)

    def _schedule(
        self, incident: Incident, rng: random.Random, interval: tuple[float, float]
    ) -> None:
        def occur() -> None:
            try:
                if incident.toggle(rng):
                    self.history.append(f"{self._clock.timestamp()} {incident.name}")
                    del self.history[:-500]
            finally:  # a client can have changed anything that the incident is about
                self._schedule(incident, rng, incident.interval)

        self._clock.call_later(rng.uniform(*interval), occur)

    def _incidents(self) -> list[Incident]:
        toggle = self._toggle
        return [
            Incident(
                "a GPU fault in chat",
                lambda rng: self._crash_one_of_many(
                    ("chat", "llama-31-8b"), FailureCause.DEVICE_ERROR, rng
                ),
                (260, 420),
                (35, 55),
            ),
            Incident(
                "the host kills an embedding server",
                lambda rng: self._crash_one_of_many(("search", "bge-m3"), FailureCause.LEAK, rng),
                (420, 700),
                (170, 230),
            ),
            Incident(
                "the larger embedding model's memory",
                lambda _: toggle(
                    ("search", "qwen3-embedding-8b"), _set_memory("48Gi"), _set_memory("6Gi")
                ),
                (400, 640),
                (330, 420),
            ),
            Incident(
                "the invoice reader's image",
                lambda _: toggle(
                    ("vision", "qwen25-vl-7b"),
                    _set_image(VLLM_IMAGE),
                    _set_image("vllm/vllm-openai:v0.33.O"),
                ),
                (480, 720),
                (420, 520),
            ),
            Incident("the token of npu-lab", self._toggle_token, (420, 640), (240, 300)),
            Incident("a hot accelerator", self._heat_one_of_many, (320, 380), (80, 110)),
            Incident(
                "the evening serving",
                lambda _: toggle(("agents", "gpt-oss-20b"), _set_replicas(1), _set_replicas(0)),
                (300, 480),
                (130, 160),
            ),
            Incident(
                "a new release of vLLM",
                lambda _: toggle(
                    ("research", "mistral-7b"),
                    _set_image(VLLM_IMAGE),
                    _set_image(OLDER_VLLM_IMAGE),
                ),
                (520, 800),
                (560, 640),
            ),
            Incident(
                "agents restart",
                lambda _: self._rollout_restart(("agents", "qwen3-32b-awq")),
                (420, 620),
            ),
            Incident(
                "a server stops answering",
                lambda rng: self._hang_one_of_many(("npu-lab", "exaone-35-78b"), rng),
                (600, 900),
                (460, 540),
            ),
            Incident("the L40S node is cordoned", self._toggle_cordon, (240, 560), (600, 700)),
        ]

    # -- steps: each returns whether it did something ----------------------------------------------

    def _crash_one_of_many(self, key: Key, cause: FailureCause, rng: random.Random) -> bool:
        pods = self._ready_pods(key)
        if len(pods) < 2:
            return False
        self._controllers.kubelet.crash(rng.choice(pods)["metadata"]["uid"], cause)
        return True

    def _hang_one_of_many(self, key: Key, rng: random.Random) -> bool:
        pods = self._ready_pods(key)
        if len(pods) < 2:
            return False
        self._controllers.kubelet.hang(rng.choice(pods)["metadata"]["uid"])
        return True

    def _heat_one_of_many(self, rng: random.Random) -> bool:
        """The temperature policy takes the Pod out of traffic until it has cooled down."""
        pods = self._ready_pods(temperature.SERVING)
        if len(pods) < 2:
            return False
        self._controllers.kubelet.heat(rng.choice(pods)["metadata"]["uid"])
        return True

    def _crash_first(self, key: Key, cause: FailureCause) -> None:
        for pod in self._ready_pods(key)[:1]:
            self._controllers.kubelet.crash(pod["metadata"]["uid"], cause)

    def _toggle(self, key: Key, fix: Edit, break_edit: Edit) -> bool:
        """Applies `fix` where it changes something, `break_edit` otherwise."""
        return self._unchanged_by_others(key) and (
            self._edit_deployment(key, fix) or self._edit_deployment(key, break_edit)
        )

    def _toggle_token(self, rng: random.Random) -> bool:
        """Adds the missing Secret, or removes it and restarts the serving."""
        key = ("npu-lab", "llama-31-8b")
        if not self._unchanged_by_others(key):
            return False
        place = ("npu-lab", TOKEN_SECRET)
        if self._store.find(SECRETS, *place) is None:
            self._store.create(*cluster_objects.token_secret("npu-lab"))
            return True
        self._store.delete(SECRETS, *place)
        return self._rollout_restart(key)

    def _rollout_restart(self, key: Key) -> bool:
        """Like `kubectl rollout restart`, where nobody else has changed the serving."""
        return self._unchanged_by_others(key) and self._restart_pods(key)

    def _restart_pods(self, key: Key) -> bool:
        """Like `kubectl rollout restart`."""
        stamp = self._clock.timestamp()

        def write(obj: Json) -> None:
            annotations = obj["spec"]["template"]["metadata"].setdefault("annotations", {})
            annotations["kubectl.kubernetes.io/restartedAt"] = stamp

        return self._edit_deployment(key, write)

    def _toggle_cordon(self, rng: random.Random) -> bool:
        node = self._store.find(NODES, "", "l40s-1")
        if node is None:
            return False

        def write(obj: Json) -> None:
            if obj["spec"].pop("unschedulable", None) is None:
                obj["spec"]["unschedulable"] = True

        self._store.mutate(NODES, "", "l40s-1", write)
        return True

    # -- helpers -----------------------------------------------------------------------------------

    def _unchanged_by_others(self, key: Key) -> bool:
        """Whether the serving exists and nobody else has changed its spec."""
        found = self._store.find(DEPLOYMENTS, *key)
        return found is not None and self._generations.get(key) == found["metadata"]["generation"]

    def _edit_deployment(self, key: Key, edit: Edit) -> bool:
        """Edits a Deployment; whether that changed its spec."""
        found = self._store.find(DEPLOYMENTS, *key)
        if found is None:
            return False
        before = found["metadata"]["generation"]
        after = self._store.mutate(DEPLOYMENTS, *key, edit)["metadata"]["generation"]
        if key in self._generations:
            self._generations[key] = after
        return bool(before != after)

    def _ready_pods(self, key: Key) -> list[Json]:
        found = self._store.find(DEPLOYMENTS, *key)
        if found is None:
            return []
        wanted = found["spec"]["selector"]["matchLabels"].items()
        return [
            pod
            for pod in self._store.list(PODS, key[0])
            if wanted <= (pod["metadata"].get("labels") or {}).items()
            and condition_is_true(pod, "Ready")
            and "deletionTimestamp" not in pod["metadata"]
        ]


def _call(step: Callable[[], object]) -> None:
    step()


def _container_of(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def _set_image(image: str) -> Edit:
    def edit(obj: Json) -> None:
        _container_of(obj)["image"] = image

    return edit


def _set_replicas(count: int) -> Edit:
    def edit(obj: Json) -> None:
        obj["spec"]["replicas"] = count

    return edit


def _set_memory(amount: str) -> Edit:
    def edit(obj: Json) -> None:
        resources = _container_of(obj)["resources"]
        resources["requests"]["memory"] = resources["limits"]["memory"] = amount

    return edit
