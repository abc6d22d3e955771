"""The demo's story: a dozen servings in all six states, and plots that keep them living.

Each plot turns every few minutes: what it finds broken it mends, what it finds well it breaks. A
plot reads the objects before it acts, and ends for a serving that somebody else has changed, so
that the story never undoes what an operator did.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from servedeck.demo import event_messages
from servedeck.demo.clock import Clock
from servedeck.demo.controllers import Controllers
from servedeck.demo.controllers.base import is_true
from servedeck.demo.resources import DEPLOYMENTS, NODES, PODS, SECRETS
from servedeck.demo.scenario import cluster_objects, serving_objects
from servedeck.demo.scenario.cluster_objects import TOKEN_SECRET
from servedeck.demo.scenario.servings import OLDER_VLLM_IMAGE, SERVINGS, VLLM_IMAGE, Serving
from servedeck.demo.store.objects import Json, Key
from servedeck.demo.store.store import Store
from servedeck.demo.workloads.failure_simulation import Cause

Edit = Callable[[Json], None]
_DAY = 86_400.0
_PAST = 32 * _DAY
"""How far back the oldest serving reaches; the clock must start so long before the opening."""


@dataclass
class Plot:
    """`turn` does the next thing and says whether there was one; `pause` is the range of seconds
    between two turns."""

    name: str
    turn: Callable[[random.Random], bool]
    pause: tuple[float, float]
    first: tuple[float, float] | None = None


class Story:
    """Writes the opening into an empty store, then keeps it living."""

    def __init__(self, store: Store, clock: Clock, controllers: Controllers, seed: int = 0) -> None:
        self._store = store
        self._clock = clock
        self._controllers = controllers
        self._seed = seed
        self._generations: dict[Key, int] = {}
        self.told: list[str] = []
        """What happened, newest last, for tests and for the curious."""

    # -- the opening -------------------------------------------------------------------------------

    @staticmethod
    def beginning(now: float) -> float:
        """Where the clock must stand before `open(now)`."""
        return now - _PAST

    def open(self, now: float) -> None:
        """Lets the controllers live through the past, up to `now`."""
        clock, create = self._clock, self._store.create
        for resource, obj in cluster_objects.foundation():
            create(resource, obj)
        for serving in SERVINGS:
            clock.at(now - serving.age * _DAY, partial(self._make, serving))
        self._past(now)
        clock.run_until(now)
        self._remember()

    def _make(self, serving: Serving) -> None:
        for resource, obj in serving_objects.objects(serving):
            if serving.key == ("chat", "exaone-40-32b") and resource is DEPLOYMENTS:
                obj["spec"]["replicas"] = 2
            if serving.key == ("research", "llama-32-3b") and resource is DEPLOYMENTS:
                obj["spec"]["replicas"] = 2
            if serving.key == ("chat", "llama-31-8b") and resource is DEPLOYMENTS:
                _container(obj)["image"] = "vllm/vllm-openai:v0.31.0"
                obj["spec"]["replicas"] = 2
            if serving.key == ("agents", "gpt-oss-20b") and resource is DEPLOYMENTS:
                obj["spec"]["replicas"] = 1
            self._store.create(resource, obj)

    def _past(self, now: float) -> None:
        """What happened to the servings before the opening."""
        at = self._clock.at

        def ago(seconds: float, what: Callable[[], object]) -> None:
            at(now - seconds, lambda: (what(), None)[1])

        edit = self._edit
        chat, exaone = ("chat", "llama-31-8b"), ("chat", "exaone-40-32b")
        ago(6.2 * _DAY, lambda: edit(chat, _image(OLDER_VLLM_IMAGE)))
        ago(2.3 * _DAY, lambda: edit(chat, _replicas(3)))
        ago(3.1 * _DAY, lambda: self._crash(("chat", "llama-33-70b"), Cause.DEVICE_ERROR))
        ago(0.6 * _DAY, lambda: edit(("agents", "gpt-oss-20b"), _replicas(0)))
        ago(1.4 * _DAY, lambda: self._crash(("search", "bge-m3"), Cause.LEAK))
        ago(2400, lambda: edit(exaone, _replicas(3)))
        ago(2100, lambda: edit(("research", "llama-32-3b"), _replicas(3)))

    def _remember(self) -> None:
        for deployment in self._store.list(DEPLOYMENTS):
            key = (deployment["metadata"]["namespace"], deployment["metadata"]["name"])
            self._generations[key] = deployment["metadata"]["generation"]

    # -- what goes on ------------------------------------------------------------------------------

    def live(self) -> None:
        """Sets the plots off; they run when the clock does."""
        if not self._generations:
            self._remember()
        for plot in self._plots():
            rng = random.Random(f"{self._seed}/{plot.name}")  # noqa: S311 - a story, not a secret
            self._wait(plot, rng, plot.first or plot.pause)

    def _wait(self, plot: Plot, rng: random.Random, pause: tuple[float, float]) -> None:
        def turn() -> None:
            if plot.turn(rng):
                self.told.append(f"{self._clock.stamp()} {plot.name}")
                del self.told[:-500]
            self._wait(plot, rng, plot.pause)

        self._clock.after(rng.uniform(*pause), turn)

    def _plots(self) -> list[Plot]:
        toggle = self._toggle
        return [
            Plot(
                "a GPU fault in chat",
                lambda rng: self._accident(("chat", "llama-31-8b"), Cause.DEVICE_ERROR, rng),
                (260, 420),
                (35, 55),
            ),
            Plot(
                "the host kills an embedding server",
                lambda rng: self._accident(("search", "bge-m3"), Cause.LEAK, rng),
                (420, 700),
                (170, 230),
            ),
            Plot(
                "the larger embedding model's memory",
                lambda _: toggle(("search", "qwen3-embedding-8b"), _memory("48Gi"), _memory("6Gi")),
                (400, 640),
                (330, 420),
            ),
            Plot(
                "the invoice reader's image",
                lambda _: toggle(
                    ("vision", "qwen25-vl-7b"),
                    _image(VLLM_IMAGE),
                    _image("vllm/vllm-openai:v0.33.O"),
                ),
                (480, 720),
                (420, 520),
            ),
            Plot("the token of npu-lab", self._token, (420, 640), (240, 300)),
            Plot("the load of chat", self._rescale, (150, 260), (80, 110)),
            Plot(
                "the evening serving",
                lambda _: toggle(("agents", "gpt-oss-20b"), _replicas(1), _replicas(0)),
                (300, 480),
                (130, 160),
            ),
            Plot(
                "a new release of vLLM",
                lambda _: toggle(
                    ("research", "mistral-7b"),
                    _image(VLLM_IMAGE),
                    _image(OLDER_VLLM_IMAGE),
                ),
                (520, 800),
                (560, 640),
            ),
            Plot(
                "agents restart", lambda _: self._restart(("agents", "qwen3-32b-awq")), (420, 620)
            ),
            Plot(
                "a server stops answering",
                lambda rng: self._hang(("npu-lab", "exaone-35-78b"), rng),
                (600, 900),
                (460, 540),
            ),
            Plot("the L40S node is cordoned", self._cordon, (240, 560), (600, 700)),
        ]

    # -- turns: each says whether it did something -------------------------------------------------

    def _accident(self, key: Key, cause: Cause, rng: random.Random) -> bool:
        pods = self._ready(key)
        if len(pods) < 2:
            return False
        self._controllers.kubelet.crash(rng.choice(pods)["metadata"]["uid"], cause)
        return True

    def _hang(self, key: Key, rng: random.Random) -> bool:
        pods = self._ready(key)
        if len(pods) < 2:
            return False
        self._controllers.kubelet.hang(rng.choice(pods)["metadata"]["uid"])
        return True

    def _crash(self, key: Key, cause: Cause) -> None:
        for pod in self._ready(key)[:1]:
            self._controllers.kubelet.crash(pod["metadata"]["uid"], cause)

    def _toggle(self, key: Key, mend: Edit, spoil: Edit) -> bool:
        """Mends where `mend` would change something, spoils otherwise."""
        return self._mine(key) and (self._edit(key, mend) or self._edit(key, spoil))

    def _token(self, rng: random.Random) -> bool:
        """Somebody adds the missing Secret; later it is gone, and a restart shows it."""
        key = ("npu-lab", "llama-31-8b")
        if not self._mine(key):
            return False
        place = ("npu-lab", TOKEN_SECRET)
        if self._store.find(SECRETS, *place) is None:
            self._store.create(*cluster_objects.token("npu-lab"))
            return True
        self._store.delete(SECRETS, *place)
        return self._restart(key)

    def _rescale(self, rng: random.Random) -> bool:
        """KEDA's autoscaler follows the load."""
        key = ("chat", "llama-31-8b")
        if not self._mine(key):
            return False
        have = self._store.get(DEPLOYMENTS, *key)["spec"]["replicas"]
        size = rng.choice([n for n in (2, 3, 4) if n != have])
        reason = "external metric s0-prometheus(&LabelSelector{...}) above target"
        if size < have:
            reason = "All metrics below target"
        self._edit(key, _replicas(size))
        self._controllers.recorder.event(
            self._store.get(DEPLOYMENTS, *key), event_messages.RESCALED, size=size, reason=reason
        )
        return True

    def _restart(self, key: Key) -> bool:
        """As `kubectl rollout restart`."""
        stamp = self._clock.stamp()

        def write(obj: Json) -> None:
            notes = obj["spec"]["template"]["metadata"].setdefault("annotations", {})
            notes["kubectl.kubernetes.io/restartedAt"] = stamp

        return self._mine(key) and self._edit(key, write)

    def _cordon(self, rng: random.Random) -> bool:
        node = self._store.find(NODES, "", "l40s-1")
        if node is None:
            return False

        def write(obj: Json) -> None:
            if obj["spec"].pop("unschedulable", None) is None:
                obj["spec"]["unschedulable"] = True

        self._store.mutate(NODES, "", "l40s-1", write)
        return True

    # -- helpers -----------------------------------------------------------------------------------

    def _mine(self, key: Key) -> bool:
        """The serving is there and nobody else has changed its spec."""
        found = self._store.find(DEPLOYMENTS, *key)
        return found is not None and self._generations.get(key) == found["metadata"]["generation"]

    def _edit(self, key: Key, edit: Edit) -> bool:
        """Changes a Deployment; False where that changes nothing, or there is none."""
        found = self._store.find(DEPLOYMENTS, *key)
        if found is None:
            return False
        before = found["metadata"]["generation"]
        after = self._store.mutate(DEPLOYMENTS, *key, edit)["metadata"]["generation"]
        if key in self._generations:
            self._generations[key] = after
        return bool(before != after)

    def _ready(self, key: Key) -> list[Json]:
        found = self._store.find(DEPLOYMENTS, *key)
        if found is None:
            return []
        wanted = found["spec"]["selector"]["matchLabels"].items()
        return [
            pod
            for pod in self._store.list(PODS, key[0])
            if wanted <= (pod["metadata"].get("labels") or {}).items()
            and is_true(pod, "Ready")
            and "deletionTimestamp" not in pod["metadata"]
        ]


def _container(deployment: Json) -> Json:
    found: Json = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def _image(image: str) -> Edit:
    def edit(obj: Json) -> None:
        _container(obj)["image"] = image

    return edit


def _replicas(count: int) -> Edit:
    def edit(obj: Json) -> None:
        obj["spec"]["replicas"] = count

    return edit


def _memory(amount: str) -> Edit:
    def edit(obj: Json) -> None:
        resources = _container(obj)["resources"]
        resources["requests"]["memory"] = resources["limits"]["memory"] = amount

    return edit
