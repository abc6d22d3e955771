"""Which of several controllers acts: the one that holds a Lease.

Rules and defaults are those of client-go tools/leaderelection. A holder that could not renew the
Lease for the renew deadline stops, while others take it only after the longer lease duration, as
each measures it by its own clock since it saw the last renewal. Other than client-go, who waits
watches the Lease instead of asking for it again and again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.lease import (
    LEASE,
    Lease,
    LeaseSpec,
    decode_lease,
    read_lease,
    server_time,
)
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.cluster.watch.reflector import RecordChange, Reflector, ReflectorConfig
from servedeck.controller.settings import JITTER, ControllerSettings

_log = logging.getLogger(__name__)


class LeaderElection:
    """One candidate for a Lease; `identity` is unique among all. Requests fail only for a while:
    nothing ends the candidacy but being cancelled, and what `lead` raises."""

    def __init__(
        self,
        connection: Connection,
        settings: ControllerSettings,
        name: str,
        identity: str,
        *,
        config: ReflectorConfig | None = None,
    ) -> None:
        self.identity = identity
        self._connection = connection
        self._settings = settings
        self._namespace, self._name = settings.lease_namespace, name
        self._place = f"{self._namespace}/{name}"
        self._lease: Lease | None = None
        """As it was seen last."""
        self._seen_at = float("-inf")
        """When its record was seen to change last."""
        self._renewed_at = float("-inf")
        """When the last request that renewed it was sent."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._problem = ""
        self._watch = Reflector(
            connection,
            ResourceKind(LEASE, Lease, field_selector=f"metadata.name={name}"),
            self._namespace,
            self._on_change,
            lambda _reflector: None,
            config=config,
        )

    @property
    def is_leader(self) -> bool:
        """Whether this candidate may act at this moment: to be asked before each write, as a
        process that was stopped for a while goes on where it was."""
        return self._loop.time() < self._renewed_at + self._settings.renew_deadline

    @property
    def holder(self) -> str:
        """Identity of who held the Lease when it was seen last, "" for nobody."""
        return self._lease.spec.holder_identity if self._lease is not None else ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run `lead` while this candidate holds the Lease; it is cancelled when the Lease is lost,
        and started again with the next one. When this is cancelled, the Lease is released after
        `lead` has ended."""
        watching = asyncio.create_task(self._watch.run())
        try:
            while True:
                await self._acquire()
                await self._lead(lead)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    # -- who does not hold it -----------------------------------------------------------------

    async def _acquire(self) -> None:
        while True:
            self._changed.clear()
            wait = self._seconds_until_free()
            if wait <= 0:
                wait = await self._try_acquire()
                if wait <= 0:
                    return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _try_acquire(self) -> float:
        """0 if it is held then, else the seconds to wait. What the watch has shown may be old."""
        problem = ""
        try:
            async with asyncio.timeout(self._settings.renew_deadline):
                self._see(await read_lease(self._connection, self._namespace, self._name))
                wait = self._seconds_until_free()
                if wait > 0:
                    return wait
                await self._write(self.identity, self._settings.lease_duration)
        except TimeoutError:
            problem = "The API server did not answer in time."
        except ApiError as error:
            if error.code == 403:
                problem = (
                    f"{error} The controller needs get, list, watch, patch and, if there is"
                    f" no Lease {self._place}, create on leases.coordination.k8s.io there."
                )
            elif error.code != 409:  # another one was faster
                problem = str(error)
        except ClusterError as error:
            problem = str(error)
        else:
            self._report("")
            return 0.0
        self._report(problem)
        return self._settings.retry_period * random.uniform(1.0, JITTER)  # noqa: S311 - jitter

    def _seconds_until_free(self) -> float:
        """0 if the Lease may be taken, as far as it is known."""
        if self._lease is None or self.holder in ("", self.identity):
            return 0.0
        duration = self._lease.spec.lease_duration_seconds
        return max(0.0, self._seen_at + duration - self._loop.time())

    def _on_change(self, change: RecordChange) -> None:
        if change.type in ("ADDED", "MODIFIED"):
            self._see(change.record)
        elif change.type == "DELETED":
            self._see(None)
        self._changed.set()

    def _see(self, lease: Lease | None) -> None:
        before = self._lease
        if before is not None and lease is not None and _is_older(lease, before):
            return  # the watch lags behind what this candidate has read or written itself
        self._lease = lease
        if lease is None or before is None or before.spec != lease.spec:
            self._seen_at = self._loop.time()

    # -- who holds it -------------------------------------------------------------------------

    async def _lead(self, lead: Callable[[], Awaitable[None]]) -> None:
        _log.info("This controller, %s, holds the Lease %s and acts.", self.identity, self._place)
        work = asyncio.ensure_future(lead())
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._settings.retry_period)
                if not work.done() and not await self._renew():
                    _log.warning("The Lease %s is lost; this controller stops to act.", self._place)
                    self._renewed_at = float("-inf")
                    return
            work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self._release()

    async def _renew(self) -> bool:
        """Renew it, by as many attempts as there is time for. False if it is lost."""
        settings = self._settings
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._renewed_at + settings.renew_deadline):
                while True:
                    try:
                        # A connection that hangs must leave time for another attempt.
                        async with asyncio.timeout(settings.renew_deadline / 2):
                            await self._renew_once()
                    except (ClusterError, TimeoutError) as error:
                        self._report(str(error) or "The API server did not answer in time.")
                    else:
                        self._report("")
                        return self.holder == self.identity
                    await asyncio.sleep(settings.retry_period)
        return False

    async def _renew_once(self) -> None:
        """Renew it, or find out that another one holds it."""
        try:
            await self._write(self.identity, self._settings.lease_duration)
        except ApiError as error:
            if error.code not in (404, 409):
                raise
            self._see(await read_lease(self._connection, self._namespace, self._name))
            if self._lease is None or self.holder == self.identity:
                await self._write(self.identity, self._settings.lease_duration)

    async def _release(self) -> None:
        """Let another one act at once, if this one holds it."""
        if not self.is_leader or self.holder != self.identity:
            return
        try:
            async with asyncio.timeout(self._settings.renew_deadline / 2):
                await self._write("", 1)
            _log.info("The Lease %s is released.", self._place)
        except (ClusterError, TimeoutError) as error:
            _log.warning("The Lease %s is not released, but ends: %s", self._place, error)
        finally:
            self._renewed_at = float("-inf")

    # -- the object ---------------------------------------------------------------------------

    async def _write(self, holder: str, duration: int) -> None:
        """Write the Lease unless it has changed since it was seen. Raises ClusterError."""
        now, before = server_time(self._connection), self._lease
        spec: dict[str, object] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "renewTime": _format_time(now),
        }
        known = before.spec if before is not None else LeaseSpec()
        if holder and known.holder_identity != holder:
            spec["acquireTime"] = _format_time(now)
            spec["leaseTransitions"] = known.lease_transitions + (before is not None)
        sent_at = self._loop.time()
        if before is None:
            response = await self._connection.request(
                "POST",
                LEASE.collection_path(self._namespace),
                body={
                    "apiVersion": LEASE.api_version,
                    "kind": LEASE.kind,
                    "metadata": {"name": self._name, "namespace": self._namespace},
                    "spec": spec,
                },
            )
        else:
            # A patch leaves labels and annotations as they are.
            response = await self._connection.request(
                "PATCH",
                LEASE.object_path(self._namespace, self._name),
                body={
                    "metadata": {"resourceVersion": before.metadata.resource_version},
                    "spec": spec,
                },
                content_type="application/merge-patch+json",
            )
        self._see(decode_lease(response.body))
        self._renewed_at = sent_at if holder else float("-inf")

    def _report(self, problem: str) -> None:
        if problem and problem != self._problem:
            _log.warning("The Lease %s cannot be read or written: %s", self._place, problem)
        self._problem = problem


def _format_time(time: datetime) -> str:
    """As a MicroTime of the API."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _is_older(lease: Lease, than: Lease) -> bool:
    """Whether it is an earlier version of the same object."""
    if lease.metadata.uid != than.metadata.uid:
        return False
    return is_older_version(lease.metadata.resource_version, than.metadata.resource_version)


def is_older_version(version: str, than: str) -> bool:
    """Whether a resourceVersion is before another one of the same object. They are numbers that
    grow (kubernetes documentation, API concepts, Resource versions); others are not compared."""
    if not (version.isdecimal() and than.isdecimal()):
        return False
    one, other = version.lstrip("0"), than.lstrip("0")
    return (len(one), one) < (len(other), other)  # int() refuses numbers of thousands of digits
