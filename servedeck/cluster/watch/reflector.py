"""Keeps a store in sync with the API server for one resource kind, by list and watch.

Rules and numbers follow kubernetes client-go tools/cache/reflector.go unless a comment says
otherwise. A reflector runs until canceled. The store is not cleared when the server is unreachable;
it becomes stale, which `phase` and `stale_seconds` report.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from time import monotonic, perf_counter

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionLostError,
    CredentialsError,
    InvalidResponseError,
    ReadTimeoutError,
    describe_error,
    is_anonymous,
)
from servedeck.cluster.watch.backoff import Backoff, ReflectorConfig, ReflectorPhase
from servedeck.cluster.watch.debounce import wait_while_held
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.list_watch_types import parse_bookmark, parse_watch_event
from servedeck.cluster.watch.paging import list_pages
from servedeck.cluster.watch.store import RecordChange, Records, RecordStore

__all__ = ["RecordChange", "Reflector", "ReflectorConfig", "ReflectorPhase"]

_log = logging.getLogger(__name__)

_WATCH_LIST_MIN_VERSION = (1, 34)
"""First version with the feature gate WatchList enabled by default."""
_MAX_RETRY_AFTER = 60.0
"""Seconds that a server may ask to wait."""
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class _ShortWatchError(ClusterError):
    """The server ended a watch immediately."""

    def __init__(self, message: str, *, is_version_known: bool = False) -> None:
        super().__init__(message)
        self.is_version_known = is_version_known
        """Whether it brought a bookmark, so that the next watch can begin there."""


class _OtherServerError(ClusterError):
    """The kubeconfig names another server since the watch was begun."""


class Reflector:
    """Keeps `records` equal to the server's objects of one kind, in one namespace or (None) in all.

    `on_change` is called once per change, and with SYNC when a list is complete; `on_state` when
    `phase`, `error`, `loaded_count` or `remaining_count` changed. Both are called on the event loop
    and must not block.
    """

    def __init__(
        self,
        connection: Connection,
        kind: ResourceKind,
        namespace: str | None,
        on_change: Callable[[RecordChange], None],
        on_state: Callable[[Reflector], None],
        *,
        config: ReflectorConfig | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.connection = connection
        self.kind = kind
        self.namespace = namespace
        self.phase = ReflectorPhase.CONNECTING
        self.error = ""
        """Reason for the phase, one sentence; "" if there is no error."""
        self.loaded_count = 0
        self.remaining_count: int | None = None
        """Objects of the first list not received yet; None if the server does not report it."""
        self.synced = False
        """True once the first list is complete."""
        self.last_contact = 0.0
        """Time of the last data from the server, by `clock`; 0 before any."""
        self.list_count = 0
        self.watch_count = 0
        self.on_lasting_watch: Callable[[], None] = lambda: None
        """Called when a watch has been open for `min_watch_duration`, so that others may try."""
        self._store = RecordStore(kind, on_change)
        self._on_state = on_state
        self._config = config = config or ReflectorConfig()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no security
        self._clock = clock
        self._api_versions = (kind.version, *kind.fallback_versions)
        self._api_version_index = 0
        self._resource_version = ""
        self._list_valid = False
        self._watch_open = False
        self._watch_brought_events = False
        self._watch_started_at = 0.0
        self._listed_at = 0.0
        self._waits_for_contact = self._is_rate_limited = False
        self._was_woken = False
        """Whether another reflector's watch has ended a delay, since one of this one worked."""
        self._watch_timeout: asyncio.Timeout | None = None
        self._silence: ClusterError | None = None
        self._is_replacing = False
        self._streaming_list = False
        self._needs_version_check = self._was_version_checked = False
        self._is_watch_held_back = False
        """Whether watches do not begin, though the server answers."""
        self._read_timeouts = 0
        self._expired_count = 0
        self._list_only = False
        self._backoff = Backoff(config, self._rng, clock)
        self._server_revision = connection.server_revision
        self._started_at = clock()
        self._retry_event = asyncio.Event()
        self._slice_deadline = 0.0

    @property
    def records(self) -> Records:
        """Records by uid. Read-only; a list replaces the dictionary."""
        return self._store.records

    @property
    def problem_count(self) -> int:
        """Number of objects that could not be decoded, or only in part."""
        return self._store.problem_count

    @property
    def last_problem(self) -> str:
        """Reason for the last decoding problem."""
        return self._store.last_problem

    def stale_seconds(self, now: float) -> float | None:
        """Seconds since the last contact if the store is stale, else None.

        `now` is measured by the same clock as `last_contact`.
        """
        age = now - (self.last_contact or self._started_at)
        if self.phase is ReflectorPhase.LIVE and age <= self._config.watch_read_timeout + 15:
            return None
        return age

    def retry_now(self) -> None:
        """Skip the current delay and reset the backoff."""
        self._reset_backoff()
        self._retry_event.set()

    def retry_after_contact(self) -> None:
        """Skip the current delay if the server could not be reached or logged in to, as another
        reflector succeeds. The backoff is kept, and so is the delay after a watch that the server
        or a proxy opens and ends: where that happens to all, each would wake the others."""
        if self._waits_for_contact:
            self._retry_event.set()

    def retry_after_lasting_watch(self) -> None:
        """Skip the current delay, unless the server asked to wait: another reflector's watch goes
        on, so what ended watches as they opened may have ended, too. The backoff is kept, and only
        the first call counts until a watch of this one works: a kind that fails for good would be
        asked as often as the watches of all others are opened."""
        if (
            self.phase is ReflectorPhase.RETRYING
            and not self._is_rate_limited
            and not self._was_woken
        ):
            self._was_woken = True
            self._retry_event.set()

    def end_watch(self, error: ClusterError) -> None:
        """End the open watch, if there is one: the server has fallen silent. It is continued where
        it was as soon as the server answers."""
        if self._watch_open and self._watch_timeout is not None:
            self._silence = error
            if not self._is_replacing:
                self._watch_timeout.reschedule(0.0)

    async def run(self) -> None:
        """Keep the store in sync until canceled."""
        while True:
            delay = 0.0
            self._streaming_list = self._watch_open = False
            try:
                if self._server_revision != self.connection.server_revision:
                    # Another server may have other objects at the same versions.
                    self._server_revision = self.connection.server_revision
                    self._resource_version, self._list_valid = "", False
                if self._list_valid:
                    await self._watch()
                else:
                    await self._relist()
            except Exception as error:
                delay = self._handle_failure(error)
            if delay > 0:
                await self._wait_before_retry(delay)
            self._waits_for_contact = self._is_rate_limited = False

    async def _wait_before_retry(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._retry_event.wait()
        self._retry_event.clear()

    # -- the list -------------------------------------------------------------------------------

    async def _relist(self) -> None:
        """The first list is paged, to report progress. Later lists are streamed if the server
        supports it, which reduces its load when all clients reconnect at the same time."""
        if not self.synced:
            self._set_phase(
                ReflectorPhase.LISTING if self.phase is ReflectorPhase.CONNECTING else self.phase,
                self.error,
            )
        elif self._can_stream_list():
            version = await self.connection.server_version()
            if version and version >= _WATCH_LIST_MIN_VERSION:
                self._streaming_list = True
                await self._run_watch(pending_list={})
                return
        await self._list_in_pages()

    def _can_stream_list(self) -> bool:
        has_version = bool(self._resource_version) and not self._list_only
        return has_version and self.kind.has_bookmarks and self.connection.supports_watch_list

    async def _list_in_pages(self) -> None:
        """List the most recent state in pages. Without a resourceVersion, the list cannot return
        older data or fail because the cluster was restored from a backup. Only the first list may
        come from the watch cache."""
        self.list_count += 1
        records: Records = {}
        version = ""
        self._report_progress(0, None)
        pages = list_pages(
            self.connection,
            self._list_path,
            self._selectors(),
            page_size=self._config.page_size,
            timeout=self._config.list_read_timeout,
            from_cache=self.kind.first_list_from_cache and not self.synced,
        )
        async with contextlib.aclosing(pages):
            async for page in pages:
                self._record_contact()
                if page is None:
                    records = {}
                    continue
                await wait_while_held(self.connection.is_held)
                self._slice_deadline = perf_counter() + self._config.time_slice
                for raw in page.items or ():
                    self._store.add_to_list(raw, records)
                    await self._yield_if_due()
                version = page.metadata.resource_version
                continue_token = page.metadata.continue_
                self._report_progress(
                    len(records), page.metadata.remaining_item_count if continue_token else 0
                )
        if not version:
            raise InvalidResponseError(
                f"The server's list of {self.kind.resource_name} has no resourceVersion; "
                "is it a Kubernetes API?"
            )
        await self._replace_store(records, version)

    async def _replace_store(self, records: Records, version: str) -> None:
        """Replace the store and emit only the differences, so that rows and selection in the UI are
        preserved."""
        self._resource_version, self._list_valid, self.synced = version, True, True
        self._listed_at = self._clock()
        self._read_timeouts, self._needs_version_check, self._streaming_list = 0, False, False
        self._slice_deadline = perf_counter() + self._config.time_slice
        # Differences that were not emitted would be lost: the watch is not ended in between.
        self._is_replacing, watch_timeout = True, self._watch_timeout
        if watch_timeout is not None:
            watch_timeout.reschedule(None)
        for _ in self._store.replace_all(records):
            await self._yield_if_due()
        self._is_replacing = False
        if watch_timeout is not None and self._silence is not None:
            watch_timeout.reschedule(0.0)
        self.loaded_count, self.remaining_count = len(records), 0
        if not self._list_only:
            self._set_phase(ReflectorPhase.LIVE, "")

    # -- the watch ------------------------------------------------------------------------------

    async def _watch(self) -> None:
        self._was_version_checked = False
        if self._needs_version_check:
            # After a restore from a backup, a watch from a version newer than the server's stays
            # silent, while this request fails within seconds.
            await self.connection.get(
                self._list_path,
                [
                    *self._selectors(),
                    ("limit", "1"),
                    ("resourceVersion", self._resource_version),
                    ("resourceVersionMatch", "NotOlderThan"),
                ],
            )
            self._needs_version_check = False
            self._was_version_checked = True
        await self._run_watch(pending_list=None)

    @contextlib.asynccontextmanager
    async def _ended_by_silence(self) -> AsyncIterator[None]:
        """Raises the error of `end_watch` when that is called within the context."""
        self._silence = None
        try:
            async with asyncio.timeout(None) as self._watch_timeout:
                yield
        except TimeoutError:
            if self._silence is None:
                raise
            raise ReadTimeoutError(str(self._silence)) from None
        finally:
            self._watch_timeout = None

    @contextlib.asynccontextmanager
    async def _reporting_lasting_watch(self) -> AsyncIterator[None]:
        def report() -> None:
            if self._watch_open:
                self._was_woken = False
                self.on_lasting_watch()

        seconds = self._config.min_watch_duration
        timer = asyncio.get_running_loop().call_later(seconds, report)
        try:
            yield
        finally:
            timer.cancel()

    async def _run_watch(self, pending_list: Records | None) -> None:
        """Run one watch until it ends. `pending_list` receives a streamed list until it is
        complete."""
        self.watch_count += 1
        self._watch_open = self._watch_brought_events = False
        has_bookmarks = self.kind.has_bookmarks
        duration = self._rng.uniform(
            *(
                self._config.watch_duration
                if has_bookmarks
                else self._config.watch_duration_without_bookmarks
            )
        )
        params = [
            *self._selectors(),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(max(1, round(duration)))),
            ("resourceVersion", self._resource_version),
        ]
        if pending_list is not None:
            params += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        read_timeout = (
            self._config.watch_read_timeout
            if has_bookmarks
            else duration + self._config.watch_read_timeout / 9
        )
        event_count = 0
        self._watch_started_at = self._clock()
        async with (
            self._ended_by_silence(),
            self._reporting_lasting_watch(),
            self.connection.stream(self._list_path, params, read_timeout) as stream,
        ):
            if self._server_revision != self.connection.server_revision:
                # It may have been sent to a server that knows nothing of this version.
                raise _OtherServerError(
                    "The kubeconfig names another server now; its objects are listed."
                )
            self._record_contact()
            self._watch_open, self._is_watch_held_back = True, False
            if pending_list is None:
                self._list_only = False
                self._set_phase(ReflectorPhase.LIVE, "")
            async for batch in stream.line_batches():
                self._record_contact()
                self._read_timeouts = 0
                await wait_while_held(self.connection.is_held)
                self._slice_deadline = perf_counter() + self._config.time_slice
                for line in batch:
                    if line:
                        event_count += 1
                        if await self._handle_event(line, pending_list):
                            pending_list = None
                        await self._yield_if_due()
                del batch
        self._record_contact()  # the clean end of the watch is also a contact
        if pending_list is not None:
            raise _ShortWatchError("The server ended the list before it was complete.")
        remaining = self._config.min_watch_duration - (self._clock() - self._watch_started_at)
        if remaining > 0 and not self._watch_brought_events:
            raise _ShortWatchError(
                "The server ends watches as soon as they begin.", is_version_known=event_count > 0
            )
        self._backoff.reset()
        if remaining > 0:
            await self._wait_before_retry(min(remaining, self._config.short_watch_delay))

    async def _handle_event(self, line: bytes, pending_list: Records | None) -> bool:
        """Process one event; True if it completed the streamed list `pending_list`."""
        event = parse_watch_event(line)
        if event.type == "ERROR":
            raise self.connection.parse_api_error(bytes(event.object))
        if event.type == "BOOKMARK":
            metadata = parse_bookmark(event.object)
            if pending_list is None:
                self._set_resource_version(metadata.resource_version)
            elif (metadata.annotations or {}).get(_INITIAL_EVENTS_END) == "true":
                await self._replace_store(pending_list, metadata.resource_version)
                return True
        elif event.type in ("ADDED", "MODIFIED"):
            if pending_list is None:
                self._watch_brought_events = True
                self._set_resource_version(self._store.put(event.object))
            else:  # initial events are not ordered by version: only the bookmark's version counts
                self._store.add_to_list(event.object, pending_list)
        elif event.type == "DELETED":
            if pending_list is None:
                self._watch_brought_events = True
                self._set_resource_version(self._store.remove(event.object))
            else:
                self._store.remove_from_list(event.object, pending_list)
        else:
            self._store.record_problem(f"an event of the unknown type {event.type!r}")
        return False

    def _set_resource_version(self, version: str) -> None:
        """Set the version up to which the store is current."""
        self._resource_version = version or self._resource_version
        self._expired_count = 0

    # -- failures -------------------------------------------------------------------------------

    def _handle_failure(self, error: Exception) -> float:
        """Seconds to wait after any failure, including bugs and errors raised while handling one: a
        reflector that ended would not be restarted."""
        if isinstance(error, ClusterError):
            try:
                return self._handle_cluster_error(error)
            except Exception as secondary_error:
                error = secondary_error
        _log.error("reflector of %s", self.kind.resource_name, exc_info=error)
        self._list_valid = False
        return self._enter_retrying(describe_error(error))

    def _handle_cluster_error(self, error: ClusterError) -> float:
        """Seconds to wait after this failure; also sets how to continue."""
        if isinstance(error, ApiError):
            return self._handle_api_error(error)
        if isinstance(error, _OtherServerError):
            return 0.0
        if (
            self._streaming_list
            and isinstance(error, _ShortWatchError | ReadTimeoutError)
            and self._silence is None  # then it says nothing of the list
        ):
            self.connection.supports_watch_list = False
            return 0.0
        if isinstance(error, CredentialsError):
            return self._enter_unauthorized(error)
        if isinstance(error, ConnectionLostError) and error.closed_cleanly and self._watch_open:
            self._record_contact()  # a clean close means that all earlier events have arrived
        was_live = self.phase is ReflectorPhase.LIVE
        # A proxy may cut each watch off as soon as it is open: that needs growing delays.
        lasted = self._clock() - self._watch_started_at >= self._config.min_watch_duration
        worked = self._watch_open and (self._watch_brought_events or lasted)
        if worked:
            self._reset_backoff()
        if (
            isinstance(error, ReadTimeoutError)
            and not self._watch_open
            and self._silence is None
            and (self._was_version_checked or self._is_watch_held_back)
        ):
            # Lists arrive and watches do not: objects are as old as the list, which is read again.
            self._is_watch_held_back, self._list_valid = True, False
            error = ReadTimeoutError(
                f"{self.connection.display_address} answers, but the watch of"
                f" {self.kind.resource_name} does not begin; is there a proxy in between that"
                " buffers responses? The list is read again instead."
            )
        wait = self._enter_retrying(str(error))
        if isinstance(error, _ShortWatchError | InvalidResponseError):
            # an Events watch from an expired version may end without an error (k/k#104171)
            self._list_valid = isinstance(error, _ShortWatchError) and error.is_version_known
            return wait
        self._waits_for_contact = worked or not self._watch_open
        self._needs_version_check = self._list_valid
        if isinstance(error, ReadTimeoutError) and self._watch_open:
            # a half-open connection, or a version newer than the server's: neither returns an error
            self._read_timeouts += 1
            self._list_valid = self._list_valid and self._read_timeouts < 2
            return 0.0 if self._read_timeouts == 1 else wait
        if isinstance(error, ConnectionLostError) and was_live and worked:
            return min(wait, self._rng.uniform(*self._config.relist_delay))
        return wait

    def _handle_api_error(self, error: ApiError) -> float:
        code, uniform = error.code, self._rng.uniform
        if self._streaming_list and (
            code in (400, 422) or (code == 500 and "RequestWatchProgress" in error.message)
        ):
            self.connection.supports_watch_list = False
            return 0.0
        if error.resource_version_too_large:
            self._resource_version, self._list_valid = "", False
            return min(self._enter_retrying(str(error)), uniform(*self._config.relist_delay))
        if error.expired:
            self._list_valid = False
            if self._clock() - self._listed_at >= self._config.min_watch_duration:
                # A version expires in minutes, in which a kind without bookmarks may not change.
                self._expired_count = 0
            self._expired_count += 1
            if self._expired_count == 1:
                return uniform(*self._config.relist_delay)
            return self._enter_retrying(str(error))
        if code == 401:
            return self._enter_unauthorized(error)
        if code == 403:
            return self._handle_forbidden(error)
        if code == 404:
            return self._handle_not_found()
        if code < 500 and code != 429:
            self._list_valid = False
        self._needs_version_check = self._list_valid and code >= 500
        wait = self._enter_retrying(str(error))
        self._waits_for_contact = code >= 500 and not self._watch_open
        self._is_rate_limited = code == 429
        return max(wait, min(error.retry_after or 0.0, _MAX_RETRY_AFTER))

    def _handle_forbidden(self, error: ApiError) -> float:
        uniform = self._rng.uniform
        if is_anonymous(error):
            return self._enter_unauthorized(error)
        may_list, self._list_valid = self._list_valid or self._streaming_list, False
        if may_list and not self._list_only:
            # the permission was revoked while the watch was open, or only list is permitted: list
            # to find out
            self._list_only = True
            return 0.0
        self._set_phase(
            ReflectorPhase.FORBIDDEN, self._missing_permission("watch" if may_list else "list")
        )
        if not may_list:
            self._list_only = False
            self._clear_store()
        return uniform(*self._config.unavailable_delay)

    def _missing_permission(self, verb: str) -> str:
        resource = self.kind.resource_name
        if not self.kind.namespaced:
            where = ""
        elif self.namespace:
            where = f" in namespace {self.namespace}"
        else:
            where = " in all namespaces"
        return f"Cannot {verb} {resource}{where}: needs list and watch on {resource}."

    def _handle_not_found(self) -> float:
        self._list_valid = False
        if self._api_version_index + 1 < len(self._api_versions):
            self._api_version_index += 1
            return 0.0
        self._api_version_index = 0
        self._set_phase(ReflectorPhase.MISSING, f"The cluster has no {self.kind.resource_name}.")
        self._clear_store()
        return self._rng.uniform(*self._config.unavailable_delay)

    def _reset_backoff(self) -> None:
        self._backoff.reset()
        self._was_woken = False

    def _enter_retrying(self, message: str) -> float:
        """Set the phase to RETRYING; returns the seconds to wait."""
        self._set_phase(ReflectorPhase.RETRYING, message)
        return self._backoff.next_delay()

    def _enter_unauthorized(self, error: ClusterError) -> float:
        """Set the phase to UNAUTHORIZED; returns the seconds to wait. An API server that starts may
        reject every credential for some seconds."""
        self._set_phase(ReflectorPhase.UNAUTHORIZED, str(error))
        self._waits_for_contact = True
        return min(self._backoff.next_delay(), self._rng.uniform(*self._config.unauthorized_delay))

    def _clear_store(self) -> None:
        self._resource_version, self.synced = "", False
        self._store.clear()

    # -- helpers --------------------------------------------------------------------------------

    @property
    def _list_path(self) -> str:
        return self.kind.list_path(self.namespace, self._api_versions[self._api_version_index])

    def _selectors(self) -> list[tuple[str, str]]:
        selectors = [
            ("labelSelector", self.kind.label_selector),
            ("fieldSelector", self.kind.field_selector),
        ]
        return [(name, value) for name, value in selectors if value]

    def _set_phase(self, phase: ReflectorPhase, error: str) -> None:
        if (phase, error) != (self.phase, self.error):
            self.phase, self.error = phase, error
            self._emit_state()

    def _report_progress(self, loaded: int, remaining: int | None) -> None:
        if not self.synced:
            self.loaded_count, self.remaining_count = loaded, remaining
            self._emit_state()

    def _emit_state(self) -> None:
        try:
            self._on_state(self)
        except Exception:  # an error in the callback must not stop the reflector
            _log.exception(
                "the state callback of the reflector of %s failed", self.kind.resource_name
            )

    def _record_contact(self) -> None:
        self.last_contact = self._clock()

    async def _yield_if_due(self) -> None:
        """Yield to the event loop after each time slice."""
        if perf_counter() > self._slice_deadline:
            await asyncio.sleep(0)
            await wait_while_held(self.connection.is_held)
            self._slice_deadline = perf_counter() + self._config.time_slice
