"""The living picture of a cluster: one reflector for each kind, joined in a Fleet, and published.

Losing the server never ends it and never blanks what is shown: the state says what is stale and
since when. What may not be read is named, and the rest goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from servedeck.cluster.auth.kubeconfig import Target
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, explain
from servedeck.cluster.watch.kinds import (
    AUTOSCALERS,
    DEPLOYMENTS,
    EVENTS,
    HTTPROUTES,
    INGRESSES,
    PODS,
    REPLICASETS,
    SCALEDOBJECTS,
    SERVICES,
    VIRTUAL_SERVICES,
    Kind,
)
from servedeck.cluster.watch.reflector import Change, Phase, Reflector, Timings
from servedeck.config import PLATFORM_NAMESPACE, Settings
from servedeck.fleet.debounce import Pulse
from servedeck.fleet.fleet import UNLABELLED, Fleet, Sight
from servedeck.fleet.platform_config import PLATFORM, PlatformConfig
from servedeck.fleet.state import LiveState, combine, is_settled, lacking
from servedeck.fleet.views import Key
from servedeck.serving.objects.records import SERVING_LABEL

_log = logging.getLogger(__name__)

LABELLED = (REPLICASETS.selecting(SERVING_LABEL), PODS.selecting(SERVING_LABEL))
OTHERS = (REPLICASETS.selecting(UNLABELLED), PODS.selecting(UNLABELLED))
"""Watched only while a serving has Pods without the label: they may be all Pods of a cluster."""
CORE = (DEPLOYMENTS, *LABELLED)
"""Nothing is shown before these are known, so that no wrong status ever flashes by."""
BESIDE = (
    EVENTS,
    SERVICES,
    HTTPROUTES,
    VIRTUAL_SERVICES,
    INGRESSES,
    SCALEDOBJECTS,
    AUTOSCALERS,
    PLATFORM,
)

JOINED = 0.07
"""Seconds within which changes after the first one are joined: those of Deployments, and those of
all else. With the time to paint them, 95 % of all changes are then seen within 80 ms, also where
something changes all the time."""
_SLICE = 16
"""Servings built in one turn of the event loop, about 8 ms for those of ten Pods."""
_LINGER = 30.0
"""Seconds that the unlabelled Pods stay watched after the last serving that needed them: one that
is replaced comes back sooner."""
_RETRY = (0.8, 30.0)


class Changes(NamedTuple):
    """What is other than at the last call."""

    keys: frozenset[Key]
    """Servings that came, went or look different."""
    state: bool
    """Whether the state is another."""


class Live:
    """Make one on the event loop, `subscribe`, then `start`; `close` leaves nothing behind.

    `widen`: where neither the target nor its context names a namespace, show all of them rather
    than "default". `narrow`: where all namespaces may not be listed, show the one that the context
    names. `calm_gc`: tune the garbage collector once the picture stands.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings | None = None,
        *,
        widen: bool = False,
        narrow: bool = True,
        calm_gc: bool = True,
        timings: Timings | None = None,
        connect: Callable[[Target], Awaitable[Connection]] = Connection.open,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.target = target
        self._chosen = settings or Settings()
        self.settings = self._chosen
        """What was chosen, completed by the cluster's ConfigMap."""
        self.connection: Connection | None = None
        """None while there is none, before the kubeconfig has been read."""
        self.namespace = ""
        """The namespace that is shown, "" for all."""
        self.fleet = Fleet(self.settings.endpoint_host, self.settings.endpoint_scheme)
        self._widen = widen
        self._narrow_down = narrow
        self._calm_gc = calm_gc
        self._timings = timings or Timings()
        self._connect = connect
        self._now = now
        self._subscribers: list[Callable[[Changes], None]] = []
        self._reflectors: dict[Kind, Reflector] = {}
        self._tasks: dict[Kind, asyncio.Task[None]] = {}
        self._helpers: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        self._pulse: Pulse | None = None
        self._failure = ""
        self._contexts: tuple[str, ...] = ()
        self._gathered: set[Key] = set()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """An empty picture. Keys that were shown are told as gone with the next beat."""
        self._gathered.update(view.key for view in self.fleet.views())
        self.fleet = Fleet(self.settings.endpoint_host, self.settings.endpoint_scheme)
        self.fleet.set_sight(Sight.WAITING, Sight.WAITING)
        self._synced: set[Kind] = set()
        self._present: set[Kind] = set()  # optional kinds that are forbidden and do exist
        self._shown = False
        self._painted = False  # all that was known by then has been told
        self._narrowed = False
        self._away: set[Kind] = set()  # kinds for which the server did not answer last
        self._told: LiveState | None = None

    # -- for those who show it ------------------------------------------------------------------

    @property
    def context(self) -> str:
        """Name of the context, "" before the kubeconfig has been read."""
        return self.connection.context if self.connection else (self.target.context or "")

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of all contexts that can be switched to."""
        return self._contexts

    @property
    def state(self) -> LiveState:
        """How true the picture is at this moment."""
        if not self._reflectors:
            phase = Phase.RETRYING if self._failure else Phase.CONNECTING
            return LiveState(phase, self._failure)
        missing = tuple(
            dict.fromkeys(
                lacking(each)
                for kind, each in self._reflectors.items()
                if each.phase is Phase.FORBIDDEN
                and kind is not PLATFORM
                and (not kind.optional or kind in self._present)
            )
        )
        if self._narrowed:
            missing = ("list deployments.apps in all namespaces", *missing)
        return combine(
            self._reflectors,
            self._synced,
            CORE,
            shown=self._painted,
            pending=self.fleet.pending,
            notice=self._notice,
            missing=missing,
            monotonic=monotonic(),
            now=self._now(),
        )

    def subscribe(self, callback: Callable[[Changes], None]) -> Callable[[], None]:
        """Have `callback` called on the event loop whenever something is other than before: the
        first change at once, those within `JOINED` after it together. Returns how to end it."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    async def start(self) -> None:
        """Begin; returns at once. What fails is said by `state` and tried again."""
        async with self._lock:
            if self._pulse is None:
                self._pulse = Pulse(self._beat, JOINED)
                self._open()

    async def close(self) -> None:
        """End all watches and the connection."""
        async with self._lock:
            if self._pulse is not None:
                self._pulse.close()
                self._pulse = None
            self._subscribers.clear()
            await self._stop()
            await self._disconnect()

    def retry_now(self) -> None:
        """Do not wait for the next attempt."""
        self._wake.set()
        if self.connection is not None:
            self.connection.forget_failures()
        for reflector in self._reflectors.values():
            reflector.retry_now()

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        """Show another context, or another namespace ("" for all); None leaves it as it is.

        Another context without a namespace shows all where all were asked for, else what that
        context names.
        """
        async with self._lock:
            target = self.target
            elsewhere = context is not None and context != self.context
            if elsewhere:
                target = replace(target, context=context, namespace=None)
            if namespace is not None:
                target = replace(target, namespace=namespace or None, all_namespaces=not namespace)
            if self._pulse is None:
                self.target = target
                return
            await self._stop()
            if elsewhere:
                await self._disconnect()
                self.settings = self._chosen
            self.target = target
            self._begin_anew()
            self._changed()
            self._open()

    # -- opening and closing --------------------------------------------------------------------

    def _open(self) -> None:
        self._failure = ""
        self._opening = asyncio.create_task(self._open_until_it_works(), name="servedeck open")

    async def _open_until_it_works(self) -> None:
        wait, longest = _RETRY
        while self.connection is None:
            self._wake.clear()
            try:
                self.connection = await self._connect(self.target)
            except ClusterError as error:
                self._failure = str(error)
            except Exception as error:
                _log.exception("opening the connection")
                self._failure = explain(error)
            if self.connection is None:
                self._changed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                wait = min(2 * wait, longest)
        self._failure = ""
        self._contexts = self.connection.kubeconfig.contexts
        self._watch(self._scope(self.connection))

    def _scope(self, connection: Connection) -> str | None:
        """The namespace to show; None for all."""
        target = self.target
        if target.all_namespaces:
            return None
        if target.namespace:
            return target.namespace
        if self._widen and not connection.kubeconfig.names_namespace(connection.context):
            return None
        return connection.kubeconfig.namespaces.get(connection.context, "default")

    def _watch(self, namespace: str | None) -> None:
        """Start all reflectors in a namespace, or in all of them."""
        self.namespace = namespace or ""
        for kind in (*CORE, *BESIDE):
            self._reflect(kind, PLATFORM_NAMESPACE if kind is PLATFORM else namespace)
        self._changed()

    def _reflect(self, kind: Kind, namespace: str | None) -> None:
        assert self.connection is not None
        fleet = self.fleet

        def on_change(change: Change) -> None:
            if fleet is self.fleet and kind in self._reflectors:
                self._take(change)

        def on_state(reflector: Reflector) -> None:
            if reflector is self._reflectors.get(kind):
                self._learn(reflector)

        reflector = Reflector(
            self.connection, kind, namespace, on_change, on_state, timings=self._timings
        )
        self._reflectors[kind] = reflector
        self._tasks[kind] = asyncio.create_task(
            reflector.run(), name=f"servedeck watch {kind.resource}"
        )

    async def _stop(self) -> None:
        """End every task; afterwards nothing of the past reaches the picture."""
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        tasks = [*self._tasks.values(), *self._helpers]
        if self._opening is not None:
            tasks.append(self._opening)
        self._reflectors, self._tasks, self._opening = {}, {}, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    def _help(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    # -- what the reflectors say ----------------------------------------------------------------

    def _take(self, change: Change) -> None:
        if change.type == "SYNC":
            self._synced.add(change.kind)
            self._survey()
        elif isinstance(change.record, PlatformConfig):
            self._apply_platform(change.record, gone=change.type == "DELETED")
        else:
            self.fleet.apply(change)
            if self._shown:
                # What an operator looks at, status and replicas, changes with the Deployment;
                # of its Pods there may be a hundred changes a second.
                self._changed(urgent=change.kind is DEPLOYMENTS)

    def _learn(self, reflector: Reflector) -> None:
        if reflector.phase is Phase.RETRYING:
            self._away.add(reflector.kind)
        elif reflector.phase is Phase.LIVE and reflector.kind in self._away:
            # The server is back: nobody else need sit out a pause that has grown to a minute.
            others, self._away = self._away - {reflector.kind}, set()
            for kind in others & self._reflectors.keys():
                self._reflectors[kind].retry_now()
        if reflector.phase in (Phase.FORBIDDEN, Phase.MISSING):
            if (
                reflector.phase is Phase.FORBIDDEN
                and reflector.kind.optional
                and reflector.kind.group
                and reflector.kind not in self._present
            ):
                self._help(self._look_for(reflector.kind))
            if reflector.kind is DEPLOYMENTS and lacking(reflector).startswith("list"):
                self._narrow()
        self._survey()

    async def _look_for(self, kind: Kind) -> None:
        """Whether a kind that is forbidden exists at all: rights are checked before that, and an
        operator need not be told of a right to what the cluster does not have."""
        if self.connection is not None:
            # 404: it does not exist. After any other failure nothing is known, nor claimed.
            with contextlib.suppress(ClusterError):
                await self.connection.get(f"/apis/{kind.group}")
                self._present.add(kind)
                self._changed()

    def _narrow(self) -> None:
        """Servings may not be listed in all namespaces: show the one that the context names."""
        if self._narrow_down and not self.namespace and self.connection is not None:
            fallback = self.connection.kubeconfig.namespaces.get(self.context, "default")
            self._help(self._show_only(fallback))

    @property
    def _notice(self) -> str:
        """What is to be known although nothing fails."""
        if not self._narrowed:
            return ""
        if self._reflectors[DEPLOYMENTS].phase is Phase.FORBIDDEN:
            return (
                f"Cannot list deployments.apps in all namespaces, nor in {self.namespace}; choose"
                " another namespace, or ask for the right to list and watch them."
            )
        return (
            f"Only namespace {self.namespace} is shown: listing servings in all namespaces is not"
            " allowed."
        )

    async def _show_only(self, namespace: str) -> None:
        async with self._lock:
            if self.namespace or self._pulse is None or self.connection is None:
                return
            this = asyncio.current_task()
            if this is not None:
                self._helpers.discard(this)
            await self._stop()
            self._begin_anew()
            self._narrowed = True
            self._watch(namespace)

    def _apply_platform(self, config: PlatformConfig, *, gone: bool) -> None:
        self.settings, wrong = self._chosen.with_platform({} if gone else config.data)
        for sentence in wrong:
            _log.warning("%s", sentence)
        self.fleet.set_host(self.settings.endpoint_host, self.settings.endpoint_scheme)
        if self._shown:
            self._changed()

    def _survey(self) -> None:
        """See how much is known by now, and whether the unlabelled Pods must be watched."""
        needed = self.fleet.needs_unlabelled
        if needed and OTHERS[0] not in self._reflectors and DEPLOYMENTS in self._synced:
            for kind in OTHERS:
                self._reflect(kind, self.namespace or None)
        labelled, others = self._look()
        if not self._shown:
            self._shown = (
                is_settled(self._reflectors[DEPLOYMENTS], self._synced)
                and labelled is not Sight.WAITING
                and (not needed or others is not Sight.WAITING)
            )
            if self._shown:
                if self._calm_gc:
                    calm_gc()
                self._changed(urgent=True)
        self._changed()

    def _look(self) -> tuple[Sight, Sight]:
        """How much is known of the Pods with and without the label, told to the fleet."""
        # A right that was taken away empties a store after its state was told.
        self._synced = {
            kind
            for kind in self._synced
            if (reflector := self._reflectors.get(kind)) is not None and reflector.synced
        }
        labelled, others = self._sight(LABELLED), self._sight(OTHERS)
        self.fleet.set_sight(labelled, others)
        return labelled, others

    def _sight(self, kinds: tuple[Kind, ...]) -> Sight:
        reflectors = [self._reflectors.get(kind) for kind in kinds]
        if any(each is None or not is_settled(each, self._synced) for each in reflectors):
            return Sight.WAITING
        if any(each is not None and each.kind not in self._synced for each in reflectors):
            return Sight.DENIED
        return Sight.CLEAR

    def _let_go(self) -> None:
        """The unlabelled Pods are not needed any longer."""
        self._linger = None
        if self.fleet.needs_unlabelled:
            return
        for kind in OTHERS:
            task = self._tasks.pop(kind)
            task.cancel()
            self._helpers.add(task)
            task.add_done_callback(self._helpers.discard)
            reflector = self._reflectors.pop(kind)
            for record in reflector.store.values():
                self.fleet.apply(Change(kind, "DELETED", record))
        self._survey()

    # -- publishing -----------------------------------------------------------------------------

    def _changed(self, *, urgent: bool = False) -> None:
        if self._pulse is not None:
            self._pulse.request(urgent=urgent)

    def _beat(self) -> bool:
        """Build what changed, a slice at a time, and tell the subscribers when all is built."""
        pulse = self._pulse
        if pulse is None:
            return False
        now = self._now()
        if self._shown:
            self._look()
            self._gathered |= self.fleet.flush(now, _SLICE)
            if self.fleet.pending:
                pulse.again()
                return False
            self._painted = True
            self._mind_unlabelled()
        state = self.state
        changes = Changes(frozenset(self._gathered), not state.same(self._told))
        self._gathered = set()
        self._told = state
        self._set_alarm(pulse, now)
        if not changes.keys and not changes.state:
            return False
        for callback in tuple(self._subscribers):
            try:
                callback(changes)
            except Exception:  # one who shows must not blind the others
                _log.exception("a subscriber failed")
        return True

    def _mind_unlabelled(self) -> None:
        watched = OTHERS[0] in self._reflectors
        if self.fleet.needs_unlabelled:
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
            if not watched:
                self._survey()
        elif watched and self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(_LINGER, self._let_go)

    def _set_alarm(self, pulse: Pulse, now: datetime) -> None:
        """Wake when an error is forgiven with time, or when silence becomes suspicious."""
        waits: list[float] = []
        if self._shown and (due := self.fleet.next_due()) is not None:
            waits.append((due - now).total_seconds())
        heard = [
            each.last_news
            for each in self._reflectors.values()
            if each.phase is Phase.LIVE and not each.kind.optional
        ]
        if heard:
            # Reflector.stale_for: past this age even a watch that stands counts as stale.
            waits.append(min(heard) + self._timings.quiet + 15.1 - monotonic())
        waits = [wait for wait in waits if wait > 0]
        pulse.alarm(min(waits) if waits else None)


def calm_gc() -> None:
    """Make full garbage collections rare.

    What was built so far lives as long as the program, and the records, which make up nearly all
    of what comes, hold no cycles. With the default thresholds every few seconds of change a
    collection walks all of it: measured 50 to 100 ms in which no key is answered.
    """
    gc.collect(1)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
