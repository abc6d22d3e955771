"""The live state of a cluster: one reflector for each kind, joined in a Fleet, and published.

If the server is unavailable, the session continues and the views remain: the state reports what is
stale and since when. Forbidden kinds are reported, and the others continue.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import NamedTuple, Protocol

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.auth.kubeconfig_loader import load_kubeconfig
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, describe_error
from servedeck.cluster.watch.debounce import Debouncer
from servedeck.cluster.watch.kinds import (
    ALPHA_INFERENCE_POOLS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    GATEWAYS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    INFERENCE_SERVICES,
    INGRESSES,
    ISTIO_GATEWAYS,
    LEADER_WORKER_SETS,
    LISTENER_SETS,
    OPENSHIFT_ROUTES,
    PLAIN_PODS,
    PODS,
    RAY_CLUSTERS,
    RAY_SERVICES,
    REPLICA_SETS,
    ROLLOUTS,
    SCALED_OBJECTS,
    SERVICES,
    STATEFUL_SET_PODS,
    STATEFUL_SETS,
    VIRTUAL_SERVICES,
    ResourceKind,
)
from servedeck.cluster.watch.reflector import (
    RecordChange,
    Reflector,
    ReflectorConfig,
    ReflectorPhase,
)
from servedeck.config import PLATFORM_NAMESPACE, Settings
from servedeck.fleet.clock_watch import watch_clocks
from servedeck.fleet.crash_logs import CrashLogReader
from servedeck.fleet.fleet import UNLABELED_SELECTOR, Completeness, Fleet
from servedeck.fleet.liveness import LivenessCheck
from servedeck.fleet.login_watch import LoginWatch
from servedeck.fleet.platform_config import PLATFORM_CONFIGMAP_KIND, PlatformConfigMap
from servedeck.fleet.state import (
    SessionState,
    combine_states,
    describe_clock_offset,
    is_settled,
    missing_permission,
)
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.conventions import SERVING_LABEL
from servedeck.serving.status.ended_instances import EndedInstance
from servedeck.serving.status.log_errors import CAUSE_LINES

_log = logging.getLogger(__name__)

LABELED = (REPLICA_SETS.with_label_selector(SERVING_LABEL), PODS.with_label_selector(SERVING_LABEL))
UNLABELED = (
    REPLICA_SETS.with_label_selector(UNLABELED_SELECTOR),
    PODS.with_label_selector(UNLABELED_SELECTOR),
)
"""Watched only while a serving has Pods without the label: they may be all Pods of a cluster."""
STATEFUL = (STATEFUL_SET_PODS,)
"""Watched only while a StatefulSet or LeaderWorkerSet is a serving."""
REQUIRED = (DEPLOYMENTS, *LABELED)
"""Nothing is shown before these are listed or forbidden, to avoid briefly incorrect statuses."""
SHARED = (GATEWAYS, LISTENER_SETS, ISTIO_GATEWAYS)
"""Watched in all namespaces, whichever is shown: routes of many lead to those of one. Where that is
forbidden, those of the shown namespace are watched."""
OPTIONAL = (
    STATEFUL_SETS,
    PLAIN_PODS,
    LEADER_WORKER_SETS,
    INFERENCE_SERVICES,
    DAEMON_SETS,
    ROLLOUTS,
    RAY_SERVICES,
    RAY_CLUSTERS,
    EVENTS,
    SERVICES,
    HTTP_ROUTES,
    INFERENCE_POOLS,
    ALPHA_INFERENCE_POOLS,
    VIRTUAL_SERVICES,
    OPENSHIFT_ROUTES,
    INGRESSES,
    SCALED_OBJECTS,
    HORIZONTAL_POD_AUTOSCALERS,
    PLATFORM_CONFIGMAP_KIND,
    *SHARED,
)

_UNREPORTED = (PLATFORM_CONFIGMAP_KIND, *SHARED)
"""Kinds that many may not read, in whose place there are settings."""

COALESCE_SECONDS = 0.07
"""Seconds within which changes after the first one are coalesced: those of Deployments, and those
of all other kinds. With the paint time, 95 % of all changes are then visible within 80 ms, even
under constant change."""
PRIORITY_COALESCE_SECONDS = 0.03
"""The same for the serving that is prioritized. Of a serving with 2,000 Pods forty may change each
second; a flush of it takes about 5 ms."""
_MAX_VIEWS_PER_FLUSH = 16
"""Views built per iteration of the event loop, about 8 ms for servings of ten Pods."""
_STOP_DELAY = 30.0
"""Seconds that Pods are watched after the last serving that needed them: a replaced one reappears
sooner."""
_CONNECT_BACKOFF = (0.8, 30.0)


class SessionChanges(NamedTuple):
    """What changed since the last call."""

    keys: frozenset[NamespacedName]
    """Servings that were added, deleted or changed."""
    state_changed: bool
    """Whether the state changed."""


class ReadLastLines(Protocol):
    """Reads the last `tail` lines of a container, sanitized; with `previous`, those of its previous
    instance. Raises ClusterError."""

    async def __call__(
        self,
        connection: Connection,
        namespace: str,
        pod: str,
        container: str,
        *,
        tail: int,
        previous: bool,
    ) -> list[str]: ...


class ClusterSession:
    """Create one on the event loop, `subscribe`, then `start`; `close` releases all resources.

    `default_all_namespaces`: if neither the options nor the context set a namespace, show all
    instead of "default". `namespace_fallback`: if listing all namespaces is forbidden, show the
    namespace of the context. `tune_gc`: tune the garbage collector after the initial lists.
    `read_last_lines`: read the logs of crashed containers whose Pods do not say why.
    """

    def __init__(
        self,
        connection_options: ConnectionOptions,
        settings: Settings | None = None,
        *,
        default_all_namespaces: bool = False,
        namespace_fallback: bool = True,
        tune_gc: bool = True,
        reflector_config: ReflectorConfig | None = None,
        connect: Callable[[ConnectionOptions], Awaitable[Connection]] = Connection.open,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        read_last_lines: ReadLastLines | None = None,
    ) -> None:
        self.connection_options = connection_options
        self._base_settings = settings or Settings()
        self.settings = self._base_settings
        """The given settings, completed by the cluster's ConfigMap."""
        self.connection: Connection | None = None
        """None before the kubeconfig has been read."""
        self.namespace = ""
        """The namespace that is shown, "" for all."""
        self.fleet = Fleet(self.settings.endpoint_host, self.settings.endpoint_scheme)
        self._default_all_namespaces = default_all_namespaces
        self._namespace_fallback = namespace_fallback
        self._tune_gc = tune_gc
        self._reflector_config = reflector_config or ReflectorConfig()
        self._connect = connect
        self._now = now
        self._read_last_lines = read_last_lines
        self._crash_logs = CrashLogReader(self._read_crash_log, self._set_log_line)
        self._is_crash_log_read: Callable[[ServingView], bool] = lambda _view: True
        self._subscribers: list[Callable[[SessionChanges], None]] = []
        self._reflectors: dict[ResourceKind, Reflector] = {}
        self._tasks: dict[ResourceKind, asyncio.Task[None]] = {}
        self._background_tasks: set[asyncio.Task[None]] = set()
        self._connect_task: asyncio.Task[None] | None = None
        self._stop_timers: dict[tuple[ResourceKind, ...], asyncio.TimerHandle] = {}
        self._retry_event = asyncio.Event()
        self._lock = asyncio.Lock()
        self._debouncer: Debouncer | None = None
        self._priority_debouncer: Debouncer | None = None
        self._priority_key: NamespacedName | None = None
        self._login_watch = LoginWatch(
            self._has_login_failed, self._try_login_again, self._retry_reflectors
        )
        self._is_held: Callable[[], bool] = lambda: False
        self._connect_error = ""
        self._contexts: tuple[str, ...] = ()
        self._changed_keys: set[NamespacedName] = set()
        self._reset()

    def _reset(self) -> None:
        """Remove all views. Their keys are reported as deleted with the next flush."""
        self._changed_keys.update(view.key for view in self.fleet.views())
        self.fleet = Fleet(self.settings.endpoint_host, self.settings.endpoint_scheme)
        self.fleet.set_completeness(Completeness.PENDING, Completeness.PENDING)
        self._synced: set[ResourceKind] = set()
        self._existing_kinds: set[ResourceKind] = (
            set()
        )  # optional kinds that are forbidden but exist
        self._initial_lists_complete = False
        self._initial_views_built = False  # all views of the initial lists are built
        self._fell_back_to_namespace = False
        self._unreachable_kinds: set[ResourceKind] = (
            set()
        )  # kinds whose last request got no response, or was not logged in
        self._last_state: SessionState | None = None

    # -- for subscribers ------------------------------------------------------------------------

    @property
    def context(self) -> str:
        """Name of the context, "" before the kubeconfig has been read."""
        return (
            self.connection.context_name
            if self.connection
            else (self.connection_options.context or "")
        )

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of all available contexts."""
        if self.connection is not None:  # it may have read the kubeconfig again
            self._contexts = self.connection.context_names
        return self._contexts

    async def read_contexts(self) -> tuple[str, ...]:
        """`contexts`, after the kubeconfig has been read again: others may have added some. Those
        from before while it cannot be used."""
        if self.connection is not None:
            self._contexts = await self.connection.read_context_names()
        else:
            with contextlib.suppress(ClusterError):
                found = await asyncio.to_thread(load_kubeconfig, self.connection_options)
                self._contexts = found.context_names
        return self.contexts

    @property
    def state(self) -> SessionState:
        """The current state of the session."""
        if not self._reflectors:
            phase = ReflectorPhase.RETRYING if self._connect_error else ReflectorPhase.CONNECTING
            return SessionState(phase, self._connect_error)
        offset = self.connection.clock.offset if self.connection is not None else timedelta()
        missing = tuple(
            dict.fromkeys(
                missing_permission(each)
                for kind, each in self._reflectors.items()
                if each.phase is ReflectorPhase.FORBIDDEN
                and kind not in _UNREPORTED
                and (not kind.optional or kind in self._existing_kinds)
            )
        )
        if self._fell_back_to_namespace:
            missing = ("list deployments.apps in all namespaces", *missing)
        state = combine_states(
            self._reflectors,
            self._synced,
            REQUIRED,
            views_built=self._initial_views_built,
            views_pending=self.fleet.has_pending,
            restriction=self._restriction_message,
            missing_permissions=missing,
            clock_warning=describe_clock_offset(offset),
            monotonic=monotonic(),
            now=self.server_now(),
        )
        if self.connection is not None and (notice := self.connection.login_notice):
            return replace(state, message=notice)
        return replace(state, message=self._explain_failure(state))

    def _explain_failure(self, state: SessionState) -> str:
        """The message of the state, with why a kubeconfig that has changed since does not help."""
        problem = self.connection.login_problem if self.connection is not None else ""
        is_login_needed = state.phase in (ReflectorPhase.UNAUTHORIZED, ReflectorPhase.RETRYING)
        return f"{problem} {state.message}" if problem and is_login_needed else state.message

    def server_now(self) -> datetime:
        """The API server's time, to which all times in objects refer; the local time before the
        first response."""
        now = self._now()
        return now if self.connection is None else now + self.connection.clock.offset

    def subscribe(self, callback: Callable[[SessionChanges], None]) -> Callable[[], None]:
        """Call `callback` on the event loop after changes: the first one immediately, those within
        `COALESCE_SECONDS` after it together. Returns a function that unsubscribes."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            with contextlib.suppress(ValueError):
                self._subscribers.remove(callback)

        return unsubscribe

    async def start(self) -> None:
        """Start; returns immediately. Errors are reported in `state` and retried."""
        async with self._lock:
            if self._debouncer is None:
                self._debouncer = Debouncer(
                    self._flush, COALESCE_SECONDS, is_held=lambda: self._is_held()
                )
                self._priority_debouncer = Debouncer(
                    self._flush_priority, PRIORITY_COALESCE_SECONDS, is_held=lambda: self._is_held()
                )
                self._start_connecting()

    async def close(self) -> None:
        """Stop all watches and close the connection."""
        async with self._lock:
            for debouncer in (self._debouncer, self._priority_debouncer):
                if debouncer is not None:
                    debouncer.close()
            self._debouncer = self._priority_debouncer = None
            self._subscribers.clear()
            await self._stop_tasks()
            await self._disconnect()

    def retry_now(self) -> None:
        """Retry now instead of waiting for the backoff."""
        self._retry_event.set()
        if self.connection is not None:
            self.connection.reset_backoff()
        self._retry_reflectors()

    def _retry_reflectors(self) -> None:
        for reflector in self._reflectors.values():
            reflector.retry_now()

    def _has_login_failed(self) -> bool:
        """Whether a watch failed or waits, and a login or a certificate that was renewed may
        help."""
        if self.connection is not None and self.connection.login_notice:
            return True
        failed = (ReflectorPhase.UNAUTHORIZED, ReflectorPhase.RETRYING)
        return any(reflector.phase in failed for reflector in self._reflectors.values())

    async def _try_login_again(self) -> bool:
        may_be_good = self.connection is not None and await self.connection.try_login_again()
        self._request_flush()  # the state says why a kubeconfig that has changed does not help
        return may_be_good

    def prioritize(self, key: NamespacedName | None) -> None:
        """Report changes of this serving sooner, as it is read closely: they do not wait for those
        of others, which under constant change takes 35 ms on average. None for none."""
        if self._priority_key in self.fleet.pending():
            self._request_flush()  # its own flush will not find it
        self._priority_key = key

    def hold_while(self, is_busy: Callable[[], bool]) -> None:
        """Report nothing while `is_busy` returns true, at most a tenth of a second at a time: what
        the operator waits for comes first."""
        self._is_held = is_busy

    def limit_crash_logs(self, is_read: Callable[[ServingView], bool]) -> None:
        """Read the logs of crashed containers of these servings only; call it before `start`."""
        self._is_crash_log_read = is_read

    async def wait_for_crash_logs(self, keys: Iterable[NamespacedName]) -> None:
        """Wait until the logs of crashed containers of these servings that are being read are read,
        and the views say what is in them; returns at once if there are none. Also if it is
        canceled, the views say what was read until then."""
        chosen = frozenset(keys)
        self._build_views(chosen)  # with the logs that were read since the last flush
        while instances := [
            instance
            for key in chosen
            for instance in self.fleet.unexplained_ends(key)
            if self._crash_logs.is_reading(instance)
        ]:
            try:
                await self._crash_logs.wait(instances)
            finally:
                self._build_views(chosen)

    async def switch(self, *, context: str | None = None, namespace: str | None = None) -> None:
        """Show another context, or another namespace ("" for all); None keeps it.

        Another context without a namespace shows all if all were requested, otherwise the namespace
        of that context.
        """
        async with self._lock:
            target = self.connection_options
            elsewhere = context is not None and context != self.context
            if elsewhere:
                target = replace(target, context=context, namespace=None)
            if namespace is not None:
                target = replace(target, namespace=namespace or None, all_namespaces=not namespace)
            if self._debouncer is None:
                self.connection_options = target
                return
            await self._stop_tasks()
            if context is not None and self.connection is not None:
                self.connection.reset_backoff()  # the same context again: as `retry_now`
            if elsewhere:
                await self._disconnect()
                self.settings = self._base_settings
            self.connection_options = target
            self._reset()
            self._request_flush()
            self._start_connecting()

    # -- opening and closing --------------------------------------------------------------------

    def _start_connecting(self) -> None:
        self._connect_error = ""
        self._connect_task = asyncio.create_task(self._connect_with_retry(), name="servedeck open")

    async def _connect_with_retry(self) -> None:
        wait, longest = _CONNECT_BACKOFF
        while self.connection is None:
            self._retry_event.clear()
            try:
                self.connection = await self._connect(self.connection_options)
            except ClusterError as error:
                self._connect_error = str(error)
            except Exception as error:
                _log.exception("opening the connection")
                self._connect_error = describe_error(error)
            if self.connection is None:
                self._request_flush()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._retry_event.wait()
                wait = min(2 * wait, longest)
        self._connect_error = ""
        self.connection.is_held = lambda: self._is_held()
        self.connection.clock.on_change = self._apply_clock_change
        self.connection.on_login_notice(self._report_login)
        self._contexts = self.connection.context_names
        self._start_reflectors(self._select_namespace(self.connection))
        self._run_in_background(watch_clocks(self.connection, self._apply_clock_change))

    def _last_watch_contact(self) -> float | None:
        """Time of the last data of an open watch that is needed; None if none is open."""
        return max(
            (
                each.last_contact
                for kind, each in self._reflectors.items()
                if each.phase is ReflectorPhase.LIVE and not kind.optional
            ),
            default=None,
        )

    def _end_watches(self, error: ClusterError) -> None:
        """The server has fallen silent."""
        for reflector in self._reflectors.values():
            reflector.end_watch(error)

    def _report_login(self, notice: str) -> None:
        if self.connection_options.report_wait is not None:
            self.connection_options.report_wait(notice)
        self._login_watch.check()
        self._request_flush(urgent=True)

    def _select_namespace(self, connection: Connection) -> str | None:
        """The namespace to show; None for all."""
        target = self.connection_options
        if target.all_namespaces:
            return None
        if target.namespace:
            return target.namespace
        if self._default_all_namespaces and not connection.kubeconfig.has_explicit_namespace(
            connection.context_name
        ):
            return None
        return connection.kubeconfig.context_namespaces.get(connection.context_name, "default")

    def _start_reflectors(self, namespace: str | None) -> None:
        """Start all reflectors in a namespace, or in all of them."""
        assert self.connection is not None
        self.namespace = namespace or ""
        check = LivenessCheck(self._last_watch_contact, self.connection.probe, self._end_watches)
        self._run_in_background(check.run())
        places = {PLATFORM_CONFIGMAP_KIND: PLATFORM_NAMESPACE, **dict.fromkeys(SHARED)}
        for kind in (*REQUIRED, *OPTIONAL):
            self._start_reflector(kind, places.get(kind, namespace))
        self._request_flush()

    def _start_reflector(self, kind: ResourceKind, namespace: str | None) -> None:
        assert self.connection is not None
        fleet = self.fleet

        def on_change(change: RecordChange) -> None:
            if fleet is self.fleet and reflector is self._reflectors.get(kind):
                self._apply_change(change)

        def on_state(reflector: Reflector) -> None:
            if reflector is self._reflectors.get(kind):
                self._handle_reflector_state(reflector)

        reflector = Reflector(
            self.connection, kind, namespace, on_change, on_state, config=self._reflector_config
        )
        reflector.on_lasting_watch = self._retry_after_lasting_watch
        self._reflectors[kind] = reflector
        self._tasks[kind] = asyncio.create_task(
            reflector.run(), name=f"servedeck watch {kind.resource_name}"
        )

    async def _stop_tasks(self) -> None:
        """Cancel every task; afterwards no old change is applied."""
        for timer in self._stop_timers.values():
            timer.cancel()
        self._stop_timers.clear()
        tasks = [*self._tasks.values(), *self._background_tasks]
        if self._connect_task is not None:
            tasks.append(self._connect_task)
        self._reflectors, self._tasks, self._connect_task = {}, {}, None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._login_watch.stop()
        await self._crash_logs.stop()

    async def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    def _run_in_background(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._background_tasks.add(task)
        task.add_done_callback(self._background_tasks.discard)

    # -- reflector callbacks --------------------------------------------------------------------

    def _apply_change(self, change: RecordChange) -> None:
        if change.type == "SYNC":
            self._synced.add(change.kind)
            self._update_load_state()
        elif isinstance(change.record, PlatformConfigMap):
            self._apply_platform(change.record, deleted=change.type == "DELETED")
        else:
            self.fleet.apply(change)
            if self._initial_lists_complete:
                self._request_flush_after(change)

    def _retry_after_lasting_watch(self) -> None:
        for reflector in self._reflectors.values():
            reflector.retry_after_lasting_watch()

    def _handle_reflector_state(self, reflector: Reflector) -> None:
        if reflector.phase in (ReflectorPhase.RETRYING, ReflectorPhase.UNAUTHORIZED):
            self._unreachable_kinds.add(reflector.kind)
            self._login_watch.check()
        elif reflector.phase is ReflectorPhase.LIVE and reflector.kind in self._unreachable_kinds:
            # The server responds again: the other reflectors need not wait for a backoff of up to a
            # minute.
            others, self._unreachable_kinds = self._unreachable_kinds - {reflector.kind}, set()
            for kind in others & self._reflectors.keys():
                self._reflectors[kind].retry_after_contact()
        if reflector.phase in (ReflectorPhase.FORBIDDEN, ReflectorPhase.MISSING):
            if (
                reflector.phase is ReflectorPhase.FORBIDDEN
                and reflector.kind in SHARED
                and reflector.namespace is None
                and self.namespace
            ):
                self._narrow_watch(reflector.kind)
            elif (
                reflector.phase is ReflectorPhase.FORBIDDEN
                and reflector.kind.optional
                and reflector.kind.group
                and reflector.kind not in self._existing_kinds
            ):
                self._run_in_background(self._check_api_group(reflector.kind))
            if reflector.kind is DEPLOYMENTS and missing_permission(reflector).startswith("list"):
                self._fall_back_to_namespace()
        self._update_load_state()

    def _narrow_watch(self, kind: ResourceKind) -> None:
        """Watch a kind in the shown namespace only."""
        self._cancel_watch(kind)
        self._start_reflector(kind, self.namespace)

    def _apply_clock_change(self) -> None:
        """The difference between the clocks became known, or one of them was set."""
        self.fleet.reevaluate_pods()
        self._request_flush()

    async def _check_api_group(self, kind: ResourceKind) -> None:
        """Check whether a forbidden kind exists: authorization comes first, and a missing
        permission for a kind that the cluster does not have need not be reported."""
        if self.connection is not None:
            # 404: it does not exist. After any other error this is unknown, and nothing is
            # reported.
            with contextlib.suppress(ClusterError):
                await self.connection.get(f"/apis/{kind.group}")
                self._existing_kinds.add(kind)
                self._request_flush()

    def _fall_back_to_namespace(self) -> None:
        """Listing in all namespaces is forbidden: show the namespace of the context."""
        if self._namespace_fallback and not self.namespace and self.connection is not None:
            fallback = self.connection.kubeconfig.context_namespaces.get(self.context, "default")
            self._run_in_background(self._restart_in_namespace(fallback))

    @property
    def _restriction_message(self) -> str:
        """A restriction to report even if nothing has failed."""
        if not self._fell_back_to_namespace:
            return ""
        if self._reflectors[DEPLOYMENTS].phase is ReflectorPhase.FORBIDDEN:
            return (
                f"Cannot list deployments.apps in all namespaces, nor in {self.namespace}; choose"
                " another namespace, or ask for permission to list and watch them."
            )
        return (
            f"Only namespace {self.namespace} is shown: listing servings in all namespaces is not"
            " allowed."
        )

    async def _restart_in_namespace(self, namespace: str) -> None:
        async with self._lock:
            if self.namespace or self._debouncer is None or self.connection is None:
                return
            this = asyncio.current_task()
            if this is not None:
                self._background_tasks.discard(this)
            await self._stop_tasks()
            self._reset()
            self._fell_back_to_namespace = True
            self._start_reflectors(namespace)

    def _apply_platform(self, config: PlatformConfigMap, *, deleted: bool) -> None:
        self.settings, wrong = self._base_settings.with_platform_configmap(
            {} if deleted else config.data
        )
        for sentence in wrong:
            _log.warning("%s", sentence)
        self.fleet.set_host(self.settings.endpoint_host, self.settings.endpoint_scheme)
        if self._initial_lists_complete:
            self._request_flush()

    def _update_load_state(self) -> None:
        """Update the completeness of the lists, and watch the Pods that are needed."""
        for kinds, source in ((UNLABELED, DEPLOYMENTS), (STATEFUL, STATEFUL_SETS)):
            is_watched = kinds[0] in self._reflectors
            if not is_watched and self._needs(kinds) and self._is_settled(source):
                for kind in kinds:
                    self._start_reflector(kind, self.namespace or None)
        labeled, others = self._update_completeness()
        if not self._initial_lists_complete:
            self._initial_lists_complete = (
                is_settled(self._reflectors[DEPLOYMENTS], self._synced)
                and labeled is not Completeness.PENDING
                and (not self.fleet.needs_unlabeled or others is not Completeness.PENDING)
            )
            if self._initial_lists_complete:
                if self._tune_gc:
                    tune_gc()
                self._request_flush(urgent=True)
        self._request_flush()

    def _update_completeness(self) -> tuple[Completeness, Completeness]:
        """Set the completeness of all lists, and return that of the Pods with and without the
        label."""
        # A revoked permission empties a store after its state was reported.
        self._synced = {
            kind
            for kind in self._synced
            if (reflector := self._reflectors.get(kind)) is not None and reflector.synced
        }
        labeled, others = self._completeness_of(LABELED), self._completeness_of(UNLABELED)
        self.fleet.set_completeness(
            labeled,
            others,
            self._completeness_of(STATEFUL),
            leader_worker_sets_settled=self._is_settled(LEADER_WORKER_SETS),
        )
        return labeled, others

    def _completeness_of(self, kinds: tuple[ResourceKind, ...]) -> Completeness:
        reflectors = [self._reflectors.get(kind) for kind in kinds]
        if any(each is None or not is_settled(each, self._synced) for each in reflectors):
            return Completeness.PENDING
        if any(each is not None and each.kind not in self._synced for each in reflectors):
            return Completeness.FORBIDDEN
        return Completeness.COMPLETE

    def _is_settled(self, kind: ResourceKind) -> bool:
        reflector = self._reflectors.get(kind)
        return reflector is not None and is_settled(reflector, self._synced)

    def _needs(self, kinds: tuple[ResourceKind, ...]) -> bool:
        if kinds is UNLABELED:
            return self.fleet.needs_unlabeled
        return self.fleet.needs_stateful_set_pods

    def _stop_watches(self, kinds: tuple[ResourceKind, ...]) -> None:
        """The Pods are no longer needed."""
        del self._stop_timers[kinds]
        if self._needs(kinds):
            return
        for kind in kinds:
            self._cancel_watch(kind)
        self._update_load_state()

    def _cancel_watch(self, kind: ResourceKind) -> None:
        """Its objects are not known any more."""
        task = self._tasks.pop(kind)
        task.cancel()
        self._background_tasks.add(task)
        task.add_done_callback(self._background_tasks.discard)
        reflector = self._reflectors.pop(kind)
        for record in reflector.records.values():
            self.fleet.apply(RecordChange(kind, "DELETED", record))

    # -- logs of crashed containers -------------------------------------------------------------

    def _request_crash_logs(self, keys: frozenset[NamespacedName]) -> None:
        if self._read_last_lines is not None:
            for key in keys:
                ends, view = self.fleet.unexplained_ends(key), self.fleet.view(key)
                if ends and view is not None and self._is_crash_log_read(view):
                    self._crash_logs.request(ends)

    async def _read_crash_log(self, instance: EndedInstance) -> list[str]:
        assert self._read_last_lines is not None
        connection = self.connection
        if connection is None:
            return []
        return await self._read_last_lines(
            connection,
            instance.namespace,
            instance.pod,
            instance.container,
            tail=CAUSE_LINES,
            previous=instance.is_previous,
        )

    def _set_log_line(self, instance: EndedInstance, line: str) -> None:
        self.fleet.set_log_line(instance, line)
        if self.fleet.has_pending:
            self._request_flush()

    # -- publishing -----------------------------------------------------------------------------

    def _request_flush(self, *, urgent: bool = False) -> None:
        if self._debouncer is not None:
            self._debouncer.request(urgent=urgent)

    def _request_flush_after(self, change: RecordChange) -> None:
        pending = self.fleet.pending()
        if self._priority_debouncer is not None and self._priority_key in pending:
            self._priority_debouncer.request()
            if len(pending) == 1:
                return
        # Status and replicas, which matter most, change with the Deployment; the Pods of all others
        # may change a hundred times per second.
        self._request_flush(urgent=change.kind is DEPLOYMENTS)

    def _build_views(self, keys: frozenset[NamespacedName]) -> None:
        """Build those views of these servings that are to be built, without waiting for a flush,
        which then notifies the subscribers."""
        if not self._reflectors or not self._initial_lists_complete:
            return  # closed, or another context or namespace is opened
        self._update_completeness()
        now = self.server_now()
        for key in keys & self.fleet.pending():
            if self.fleet.flush_serving(key, now):
                self._changed_keys.add(key)
        self._request_crash_logs(keys)
        self._request_flush()

    def _flush_priority(self) -> bool:
        """Build the view of the prioritized serving, and notify the subscribers."""
        key, debouncer = self._priority_key, self._debouncer
        if debouncer is None or not self._initial_lists_complete:
            return False
        self._update_completeness()
        pending = self.fleet.pending()
        if key is None or key not in pending:
            return False
        now = self.server_now()
        is_changed = self.fleet.flush_serving(key, now)
        self._update_pod_watches()
        if pending:  # the completeness has changed
            self._request_flush()
        self._schedule_wake_up(debouncer, now)
        if is_changed:
            self._notify(SessionChanges(frozenset((key,)), False))
        return is_changed

    def _flush(self) -> bool:
        """Build changed views in batches, and notify the subscribers when all are built."""
        debouncer = self._debouncer
        if debouncer is None:
            return False
        now = self.server_now()
        if self._initial_lists_complete:
            self._update_completeness()
            self._changed_keys |= self.fleet.flush(now, _MAX_VIEWS_PER_FLUSH)
            if self.fleet.has_pending:
                debouncer.flush_again()
                return False
            self._initial_views_built = True
            self._update_pod_watches()
        state = self.state
        changes = SessionChanges(
            frozenset(self._changed_keys), not state.looks_same(self._last_state)
        )
        self._changed_keys = set()
        self._last_state = state
        self._schedule_wake_up(debouncer, now)
        if not changes.keys and not changes.state_changed:
            return False
        self._notify(changes)
        return True

    def _notify(self, changes: SessionChanges) -> None:
        self._request_crash_logs(changes.keys)
        for callback in tuple(self._subscribers):
            try:
                callback(changes)
            except Exception:  # one subscriber's error must not affect the others
                _log.exception("a subscriber failed")

    def _update_pod_watches(self) -> None:
        for kinds in (UNLABELED, STATEFUL):
            watched = kinds[0] in self._reflectors
            if self._needs(kinds):
                if (timer := self._stop_timers.pop(kinds, None)) is not None:
                    timer.cancel()
                if not watched:
                    self._update_load_state()
            elif watched and kinds not in self._stop_timers:
                self._stop_timers[kinds] = asyncio.get_running_loop().call_later(
                    _STOP_DELAY, self._stop_watches, kinds
                )

    def _schedule_wake_up(self, debouncer: Debouncer, now: datetime) -> None:
        """Schedule a flush for when an error expires, or when a watch counts as stale."""
        waits: list[float] = []
        if self._initial_lists_complete and (due := self.fleet.next_reevaluation()) is not None:
            waits.append((due - now).total_seconds())
        last_contacts = [
            each.last_contact
            for each in self._reflectors.values()
            if each.phase is ReflectorPhase.LIVE and not each.kind.optional
        ]
        if last_contacts:
            # Reflector.stale_seconds: past this age even an open watch counts as stale.
            waits.append(
                min(last_contacts) + self._reflector_config.watch_read_timeout + 15.1 - monotonic()
            )
        waits = [wait for wait in waits if wait > 0]
        debouncer.wake_at(min(waits) if waits else None)


def tune_gc() -> None:
    """Make full garbage collections rare.

    Objects built so far exist as long as the program, and the records, nearly all later objects,
    contain no reference cycles. With the default thresholds a collection scans all of them after
    every few seconds of change: measured 50 to 100 ms without a response to keys.
    """
    gc.collect(1)
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
