"""A live copy of one kind of object: lists, watches, and recovers from whatever happens.

Rules and figures follow kubernetes client-go tools/cache/reflector.go unless a comment says
otherwise. A reflector never ends by itself, and what it holds is never blanked because the server
is away: it is merely older, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from time import monotonic, perf_counter

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    AnswerError,
    ApiError,
    ClusterError,
    CredentialsError,
    LostError,
    SlowError,
    explain,
)
from servedeck.cluster.watch.backoff import Backoff, Phase, Timings
from servedeck.cluster.watch.kinds import Kind
from servedeck.cluster.watch.list_watch_types import read_event, read_head
from servedeck.cluster.watch.paging import pages
from servedeck.cluster.watch.store import Change, Records, Store

__all__ = ["Change", "Phase", "Reflector", "Timings"]

_log = logging.getLogger(__name__)

_STREAMING_SINCE = (1, 34)
"""First minor version that streams lists by default and for good (feature gate WatchList)."""
_END_OF_LIST = "k8s.io/initial-events-end"


class _ShortWatchError(ClusterError):
    """The server ended a watch as soon as it began."""


class Reflector:
    """Keeps `store` equal to the server's objects of one kind, in one namespace or (None) in all.

    `on_change` is called once for each change, then with SYNC when a list is complete; `on_state`
    when `phase`, `error`, `loaded` or `remaining` changed. Both are called on the event loop and
    must be quick.
    """

    def __init__(
        self,
        connection: Connection,
        kind: Kind,
        namespace: str | None,
        on_change: Callable[[Change], None],
        on_state: Callable[[Reflector], None],
        *,
        timings: Timings | None = None,
        chance: random.Random | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.connection = connection
        self.kind = kind
        self.namespace = namespace
        self.phase = Phase.CONNECTING
        self.error = ""
        """Why the phase is what it is, one sentence; "" while all is well."""
        self.loaded = 0
        self.remaining: int | None = None
        """Objects of the first list still to come; None where the server does not say."""
        self.synced = False
        """True from the first complete list on."""
        self.last_news = 0.0
        """When the server was last heard, by `clock`; 0 before the first time."""
        self.lists = 0
        self.watches = 0
        self._store = Store(kind, on_change)
        self._on_state = on_state
        self._timings = timings = timings or Timings()
        self._chance = chance or random.Random()  # noqa: S311 - jitter is no secret
        self._clock = clock
        self._versions = (kind.version, *kind.older)
        self._version = 0
        self._rv = ""
        self._listed = False
        self._opened = False
        self._streaming = False
        self._doubtful = False
        self._silences = 0
        self._expiries = 0
        self._only_list = False
        self._backoff = Backoff(timings, self._chance, clock)
        self._began = clock()
        self._wake = asyncio.Event()
        self._turn_ends = 0.0

    @property
    def store(self) -> Records:
        """Records by uid. Do not change it; it is replaced, not changed, by a list."""
        return self._store.records

    @property
    def bad(self) -> int:
        """Objects that could not be read, or only in part, so far."""
        return self._store.bad

    @property
    def problem(self) -> str:
        """What was wrong with the last of them."""
        return self._store.problem

    def stale_for(self, now: float) -> float | None:
        """Seconds since the last news where they are too many to call the store live, else None.

        `now` by the clock of `last_news`.
        """
        age = now - (self.last_news or self._began)
        if self.phase is Phase.LIVE and age <= self._timings.quiet + 15:
            return None
        return age

    def retry_now(self) -> None:
        """Do not wait any longer: try again at once."""
        self._backoff.reset()
        self._wake.set()

    async def run(self) -> None:
        """Keep the store equal to the server's until cancelled."""
        while True:
            delay = 0.0
            self._streaming = self._opened = False
            try:
                if self._listed:
                    await self._watch()
                else:
                    await self._list_anew()
            except Exception as error:
                delay = self._failed(error)
            if delay > 0:
                await self._pause(delay)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    # -- the list -------------------------------------------------------------------------------

    async def _list_anew(self) -> None:
        """The first list comes in pages, which show progress; later ones stream where they can,
        which spares a server that all clients come back to at once."""
        if not self.synced:
            self._set(Phase.LISTING if self.phase is Phase.CONNECTING else self.phase, self.error)
        elif self._may_stream():
            version = await self.connection.version()
            if version and version >= _STREAMING_SINCE:
                self._streaming = True
                await self._watch_stream(into={})
                return
        await self._list()

    def _may_stream(self) -> bool:
        known = bool(self._rv) and not self._only_list
        return known and self.kind.bookmarks and self.connection.streams_lists

    async def _list(self) -> None:
        """Pages of the newest state. Without a version to be compared with, it can never go back
        in time, nor be refused because the cluster was restored from a backup."""
        self.lists += 1
        fresh: Records = {}
        version = ""
        self._progress(0, None)
        listed = pages(
            self.connection,
            self._path,
            self._selectors(),
            limit=self._timings.page,
            timeout=self._timings.list_silence,
        )
        async with contextlib.aclosing(listed):
            async for page in listed:
                self._heard()
                if page is None:
                    fresh = {}
                    continue
                self._turn_ends = perf_counter() + self._timings.slice
                for raw in page.items or ():
                    self._store.collect(raw, fresh)
                    await self._take_turns()
                version = page.metadata.resource_version
                more = page.metadata.continue_
                self._progress(len(fresh), page.metadata.remaining_item_count if more else 0)
        if not version:
            raise AnswerError(
                f"The server's list of {self.kind.resource} has no version; is it a Kubernetes API?"
            )
        await self._swap(fresh, version)

    async def _swap(self, fresh: Records, version: str) -> None:
        """Replace the store, telling only what differs, so that rows and selection survive."""
        self._rv, self._listed, self.synced = version, True, True
        self._silences, self._doubtful, self._streaming = 0, False, False
        self._turn_ends = perf_counter() + self._timings.slice
        for _ in self._store.replace(fresh):
            await self._take_turns()
        self.loaded, self.remaining = len(fresh), 0
        if not self._only_list:
            self._set(Phase.LIVE, "")

    # -- the watch ------------------------------------------------------------------------------

    async def _watch(self) -> None:
        if self._doubtful:
            # A version from before the cluster was restored is answered with silence by a watch,
            # and with an error within seconds by this.
            await self.connection.get(
                self._path,
                [
                    *self._selectors(),
                    ("limit", "1"),
                    ("resourceVersion", self._rv),
                    ("resourceVersionMatch", "NotOlderThan"),
                ],
            )
            self._doubtful = False
        await self._watch_stream(into=None)

    async def _watch_stream(self, into: Records | None) -> None:
        """One watch to its end. `into`: where a streamed list goes until it is complete."""
        self.watches += 1
        self._opened = False
        marked = self.kind.bookmarks
        length = self._chance.uniform(
            *(self._timings.watch if marked else self._timings.unmarked_watch)
        )
        params = [
            *self._selectors(),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(max(1, round(length)))),
            ("resourceVersion", self._rv),
        ]
        if into is not None:
            params += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
        silence = self._timings.quiet if marked else length + self._timings.quiet / 9
        began, events = self._clock(), 0
        async with self.connection.stream(self._path, params, silence) as stream:
            self._heard()
            self._opened = True
            if into is None:
                self._only_list = False
                self._set(Phase.LIVE, "")
            async for batch in stream.batches():
                self._heard()
                self._silences = 0
                self._turn_ends = perf_counter() + self._timings.slice
                for line in batch:
                    if line:
                        events += 1
                        if await self._event(line, into):
                            into = None
                        await self._take_turns()
                del batch
        self._heard()  # its end, too
        lasted = self._clock() - began
        if into is not None:
            raise _ShortWatchError("The server ended the list before it was complete.")
        if lasted < self._timings.short:
            if not events:
                raise _ShortWatchError("The server ends watches as soon as they begin.")
            await self._pause(self._timings.short - lasted)

    async def _event(self, line: bytes, into: Records | None) -> bool:
        """Take in one event; True where it completed the streamed list `into`."""
        event = read_event(line)
        if event.type == "ERROR":
            raise self.connection.refusal(bytes(event.object))
        if event.type == "BOOKMARK":
            head = read_head(event.object)
            if into is None:
                self._known(head.resource_version)
            elif (head.annotations or {}).get(_END_OF_LIST) == "true":
                await self._swap(into, head.resource_version)
                return True
        elif event.type in ("ADDED", "MODIFIED"):
            if into is None:
                self._known(self._store.put(event.object))
            else:  # these versions are in no order: only the bookmark's counts
                self._store.collect(event.object, into)
        elif event.type == "DELETED":
            if into is None:
                self._known(self._store.remove(event.object))
            else:
                self._store.discard(event.object, into)
        else:
            self._store.note(f"an event of the unknown type {event.type!r}")
        return False

    def _known(self, version: str) -> None:
        """The server's version up to which the store is right."""
        self._rv = version or self._rv
        self._expiries = 0

    # -- what to do after a failure --------------------------------------------------------------

    def _failed(self, error: Exception) -> float:
        """Seconds to wait after any failure, one of ours and one in handling it included: nobody
        starts a reflector again."""
        if isinstance(error, ClusterError):
            try:
                return self._after(error)
            except Exception as fault:
                error = fault
        _log.error("reflector of %s", self.kind.resource, exc_info=error)
        self._listed = False
        return self._retrying(explain(error))

    def _after(self, error: ClusterError) -> float:
        """Seconds to wait after this failure; sets what is done then."""
        if isinstance(error, ApiError):
            return self._refused(error)
        if self._streaming and isinstance(error, _ShortWatchError | SlowError):
            self.connection.streams_lists = False
            return 0.0
        if isinstance(error, CredentialsError):
            wait = self._retrying(str(error))
            self._set(Phase.UNAUTHORIZED, str(error))
            return wait
        if isinstance(error, LostError) and error.complete and self._opened:
            self._heard()  # all that happened until now has come
        was_live = self.phase is Phase.LIVE
        wait = self._retrying(str(error))
        if isinstance(error, _ShortWatchError | AnswerError):
            # an Events watch from a version too old may end without a word (k/k#104171)
            self._listed = False
            return wait
        self._doubtful = self._listed
        if isinstance(error, SlowError) and self._opened:
            # half-dead connection, or a version from the future: no error ever comes
            self._silences += 1
            self._listed = self._listed and self._silences < 2
            return 0.0 if self._silences == 1 else wait
        if isinstance(error, LostError) and was_live:
            return min(wait, self._chance.uniform(*self._timings.relist))
        return wait

    def _refused(self, error: ApiError) -> float:
        code, draw = error.code, self._chance.uniform
        if self._streaming and (
            code in (400, 422) or (code == 500 and "RequestWatchProgress" in error.message)
        ):
            self.connection.streams_lists = False
            return 0.0
        if error.too_large:
            self._rv, self._listed = "", False
            return min(self._retrying(str(error)), draw(*self._timings.relist))
        if error.expired:
            self._listed = False
            self._expiries += 1
            if self._expiries == 1:
                return draw(*self._timings.relist)
            return self._retrying(str(error))
        if code == 401:
            self._set(Phase.UNAUTHORIZED, str(error))
            return draw(*self._timings.unauthorized)
        if code == 403:
            return self._forbidden(error)
        if code == 404:
            return self._missing()
        if code < 500 and code != 429:
            self._listed = False
        self._doubtful = self._listed and code >= 500
        wait = self._retrying(str(error))
        return error.retry_after or wait

    def _forbidden(self, error: ApiError) -> float:
        draw = self._chance.uniform
        if "system:anonymous" in error.message:
            self._set(Phase.UNAUTHORIZED, str(error))
            return draw(*self._timings.unauthorized)
        may_list, self._listed = self._listed or self._streaming, False
        if may_list and not self._only_list:
            # the open watch outlived our rights, or we may list but not watch: a list tells
            self._only_list = True
            return 0.0
        self._set(Phase.FORBIDDEN, self._lacking("watch" if may_list else "list"))
        if not may_list:
            self._only_list = False
            self._forget()
        return draw(*self._timings.probe)

    def _lacking(self, verb: str) -> str:
        resource = self.kind.resource
        if not self.kind.namespaced:
            where = ""
        elif self.namespace:
            where = f" in namespace {self.namespace}"
        else:
            where = " in all namespaces"
        return f"Cannot {verb} {resource}{where}: needs list and watch on {resource}."

    def _missing(self) -> float:
        self._listed = False
        if self._version + 1 < len(self._versions):
            self._version += 1
            return 0.0
        self._version = 0
        self._set(Phase.MISSING, f"The cluster has no {self.kind.resource}.")
        self._forget()
        return self._chance.uniform(*self._timings.probe)

    def _retrying(self, sentence: str) -> float:
        """Say so, and how long to wait."""
        self._set(Phase.RETRYING, sentence)
        return self._backoff.next()

    def _forget(self) -> None:
        self._rv, self.synced = "", False
        self._store.clear()

    # -- small things ---------------------------------------------------------------------------

    @property
    def _path(self) -> str:
        return self.kind.path(self.namespace, self._versions[self._version])

    def _selectors(self) -> list[tuple[str, str]]:
        given = [
            ("labelSelector", self.kind.label_selector),
            ("fieldSelector", self.kind.field_selector),
        ]
        return [(name, value) for name, value in given if value]

    def _set(self, phase: Phase, error: str) -> None:
        if (phase, error) != (self.phase, self.error):
            self.phase, self.error = phase, error
            self._tell()

    def _progress(self, loaded: int, remaining: int | None) -> None:
        if not self.synced:
            self.loaded, self.remaining = loaded, remaining
            self._tell()

    def _tell(self) -> None:
        try:
            self._on_state(self)
        except Exception:  # whoever listens must not stop what others see
            _log.exception("the state of the reflector of %s was not taken", self.kind.resource)

    def _heard(self) -> None:
        self.last_news = self._clock()

    async def _take_turns(self) -> None:
        """Let others run once our stretch of work is over."""
        if perf_counter() > self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = perf_counter() + self._timings.slice
