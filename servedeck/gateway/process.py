"""A gateway process: its parts by role, from the first probe to the last request."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvloop

from servedeck.gateway.admin_api.app import AdminApp
from servedeck.gateway.admin_api.health import ProcessState
from servedeck.gateway.asgi import App
from servedeck.gateway.context import GatewayContext
from servedeck.gateway.delivery.sweeper import Sweeper
from servedeck.gateway.feed_hub import FeedHub
from servedeck.gateway.http_server import bind, serve
from servedeck.gateway.metrics import GatewayMetrics
from servedeck.gateway.objects import ObjectStore, ObjectStoreError
from servedeck.gateway.public_api.app import PublicApp
from servedeck.gateway.secret import open_identity
from servedeck.gateway.settings import GatewaySettings, GatewaySettingsError
from servedeck.gateway.stores.opening import open_store
from servedeck.gateway.stores.store import StoreError
from servedeck.gateway.upstreams.upstreams import FixedUpstreams, OnDemandUpstreams, Upstreams

if TYPE_CHECKING:
    from servedeck.gateway.delivery.worker import Worker

_RETRY_SECONDS = 1.0
_HAND_BACK_SECONDS = 15.0
"""For what a worker does after its drain time."""
_WARNING = "warning: "

_log = logging.getLogger(__name__)


class GatewayError(Exception):
    """The gateway cannot start, or a part of it failed; str() is one sentence."""

    exit_code = 1


class Gateway:
    """A gateway that runs, made by `running_gateway`."""

    def __init__(self, context: GatewayContext) -> None:
        self.context = context
        self.state = ProcessState()
        self.public_port: int | None = None
        """The port that it is bound to; None for a role that does not answer callers."""
        self.admin_port = 0
        self._parts: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[None] | None = None
        self._worker: Worker | None = None
        self._opened = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_until_open(self) -> None:
        """Wait until its store can be used."""
        await self._opened.wait()

    async def wait(self) -> None:
        """Wait for a part that fails. Raises GatewayError; it returns only by being cancelled."""
        await asyncio.shield(self._failed)

    def start(self) -> None:
        self._add_part("watch of the replicas", self.context.upstreams.run())
        self._starting = self._add_part("start", self._open_and_start())

    async def _open_and_start(self) -> None:
        problem = await self._open_store()
        context = self.context
        self._add_part("feed", context.hub.run())
        if context.settings.role == "accept":
            # Deadlines are kept, and results deleted, while no process delivers.
            sweeper = Sweeper(context, random.Random(), lambda: None)  # noqa: S311 - jitter
            self._add_part("sweeper", sweeper.run())
        else:
            from servedeck.gateway.delivery.worker import Worker  # its client takes 10 MiB

            self._worker = Worker(context)
            self._add_part("worker", self._worker.run())
        self.state.not_ready = ""
        self._opened.set()
        if problem:
            _log.warning(
                "The gateway of %s has started, but is not ready: %s",
                context.settings.serving,
                problem,
            )
        else:
            _log.info("The gateway of %s is ready.", context.settings.serving)

    async def _open_store(self) -> str:
        """Waits while the store is away, as it may start at the same time. Returns why tasks are
        not safe in it, for which `/readyz` is not ready either."""
        store, problem = self.context.store, ""
        while True:
            try:
                await store.open()
                break
            except StoreError as error:
                self.state.not_ready = str(error)
                if problem != str(error):
                    problem = str(error)
                    _log.warning("The store cannot be used yet: %s", problem)
                await asyncio.sleep(_RETRY_SECONDS)
        await self._open_queue()
        with suppress(StoreError):
            found = await store.check()
            if not found.startswith(_WARNING):
                return found
            _log.warning("The store: %s", found.removeprefix(_WARNING))
        return ""

    async def _open_queue(self) -> None:
        """A queue that was closed when it was turned off, by a gateway that is no longer there (its
        secret was another), is opened."""
        store = self.context.store
        while True:
            try:
                control = await store.control()
                if control.closed_by in ("", self.context.identity.fingerprint):
                    return
                if await store.set_control(control._replace(closed_by=""), control):
                    _log.info("The queue is opened: a gateway of another secret had been closed.")
            except StoreError as error:
                self.state.not_ready = str(error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _add_part(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        self._parts.append(task)
        return task

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.error("The %s failed.", task.get_name(), exc_info=error)
        if not self._failed.done():
            name = type(error).__name__
            self._failed.set_exception(GatewayError(f"The {task.get_name()} failed: {name}."))
            self._failed.exception()  # it may never be waited for

    async def drain(self) -> None:
        """Take no more work, and hand back what does not end in the time of the settings."""
        self.state.not_ready = "The gateway shuts down."
        if self._starting is not None:
            # A store that comes back now would start a worker that nobody drains.
            self._starting.cancel()
        if self._worker is None:
            return
        seconds = self.context.settings.drain
        try:
            async with asyncio.timeout(seconds + _HAND_BACK_SECONDS):
                await self._worker.drain(seconds)
        except TimeoutError:
            # Their leases end, and another worker takes them.
            _log.warning("Running tasks could not be handed back in time.")

    async def end_parts(self) -> None:
        for part in self._parts:
            part.cancel()
        await asyncio.gather(*self._parts, return_exceptions=True)


def make_context(settings: GatewaySettings, upstreams: Upstreams | None = None) -> GatewayContext:
    """What the parts share; connects to nothing. `upstreams`: other replicas than those that the
    settings say. Raises GatewaySettingsError."""
    identity = open_identity(settings)
    _check_callback_secret(settings)
    metrics = GatewayMetrics()
    store = open_store(settings, metrics.observe_commit)
    return GatewayContext(
        settings=settings,
        store=store,
        identity=identity,
        objects=_open_objects(settings),
        hub=FeedHub(store),
        upstreams=upstreams or _make_upstreams(settings),
        metrics=metrics,
    )


@asynccontextmanager
async def running_gateway(
    settings: GatewaySettings, upstreams: Upstreams | None = None
) -> AsyncIterator[Gateway]:
    """Run a gateway in this process; it answers when this enters, though with 503 while its store
    is away. At the end its worker is drained, then its ports are closed. `upstreams`: see
    `make_context`. Raises GatewaySettingsError, and GatewayError if a port cannot be used."""
    context = await asyncio.to_thread(make_context, settings, upstreams)
    gateway = Gateway(context)
    # What is entered last ends first: the worker is drained while the ports still answer.
    async with AsyncExitStack() as stack:
        stack.push_async_callback(context.store.close)
        stack.push_async_callback(gateway.end_parts)
        admin = AdminApp(context, gateway.state)
        gateway.admin_port = await _serve(stack, admin, settings.admin_host, settings.admin_port)
        if settings.role != "deliver":
            public = PublicApp(context)
            gateway.public_port = await _serve(stack, public, settings.host, settings.port)
            stack.callback(public.drain)
        stack.callback(admin.close)
        stack.push_async_callback(gateway.drain)
        gateway.start()
        if gateway.public_port is not None:
            _log.info("Callers are answered on %s port %d.", settings.host, gateway.public_port)
        _log.info("Operators are answered on %s port %d.", settings.admin_host, gateway.admin_port)
        yield gateway


async def _serve(stack: AsyncExitStack, app: App, host: str, port: int) -> int:
    try:
        sock = bind(host, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise GatewayError(f"Cannot listen on {host} port {port}: {reason}.") from error
    return await stack.enter_async_context(serve(app, sock))


def _open_objects(settings: GatewaySettings) -> ObjectStore | None:
    if not settings.objects:
        return None
    from servedeck.gateway.object_stores import open_objects  # takes 4 MiB

    try:
        return open_objects(settings.objects, settings.serving)
    except ObjectStoreError as error:
        raise GatewaySettingsError(f"objects: {error}") from None


def _check_callback_secret(settings: GatewaySettings) -> None:
    """A process that only accepts does not sign, and so may lack the file."""
    if settings.callback_secret_file is None or settings.role == "accept":
        return
    from servedeck.gateway.delivery.callbacks import check_secret  # with the client of the worker

    check_secret(settings.callback_secret_file)


def _make_upstreams(settings: GatewaySettings) -> Upstreams:
    if settings.upstreams:
        return FixedUpstreams(settings.upstreams)

    def watch() -> Upstreams:
        from servedeck.gateway.upstreams.endpoint_slices import WatchedUpstreams

        return WatchedUpstreams(settings.service)

    return OnDemandUpstreams(watch) if settings.role == "accept" else watch()


def run_gateway(settings: GatewaySettings) -> None:
    """Run a gateway until SIGTERM or SIGINT; a second signal ends the process at once. Raises
    GatewaySettingsError and GatewayError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run_until_signal(settings))


async def _run_until_signal(settings: GatewaySettings) -> None:
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            # Nothing is lost: what was accepted is stored, and leases end.
            os._exit(128 + number)
        _log.info("%s: the gateway shuts down.", signal.Signals(number).name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    async with running_gateway(settings) as gateway:
        # What was made by now stays: a full collection that looks at it all stops the gateway for
        # tens of milliseconds.
        gc.collect()
        gc.freeze()
        waits = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(gateway.wait())}
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in rest:
            one.cancel()
        for one in done:
            one.result()
    _log.info("The gateway has ended.")
