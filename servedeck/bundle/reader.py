"""Reads from the API server within a time limit, a few requests at a time, and remembers what could
not be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import (
    ApiError,
    ClusterError,
    ConnectionFailedError,
    ConnectionLostError,
    ReadTimeoutError,
)
from servedeck.cluster.resources import Resource
from servedeck.serving.spec.mapping.json_values import JsonObject

PARALLEL_REQUESTS = 4
"""Requests at a time, so that a bundle is no load for the API server."""
_RETRY_SECONDS = 1.0
"""Seconds before the one retry of a request whose connection failed: a load balancer may have
another API server by then."""

T = TypeVar("T")


class Problem(NamedTuple):
    """Something that the bundle does not have."""

    what: str
    """What is missing, "Node gpu-1"."""
    reason: str
    """Why, one sentence."""


class ServerLostError(ClusterError):
    """The API server was lost while the bundle was made; str() is one sentence."""


class TimeLimitError(ClusterError):
    """The time of the bundle is over."""

    def __init__(self) -> None:
        super().__init__("The time limit was reached before it was read.")


class ClusterReader:
    """Reads for one bundle."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._problems: dict[Problem, None] = {}
        self.absent: set[tuple[Resource, str]] = set()
        """Objects that do not exist, by kind and name."""
        self.lost = ""
        """Why the API server cannot be reached any more; "" while it can. Nothing else is then
        requested."""
        self.deadline = float("inf")
        """Time of the event loop after which no request is made."""
        self._slots = asyncio.Semaphore(PARALLEL_REQUESTS)

    @property
    def problems(self) -> list[Problem]:
        """What could not be read, each once, in that order."""
        return list(self._problems)

    @property
    def seconds_left(self) -> float:
        """Seconds until the deadline, at least 0."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def add_problem(self, what: str, reason: str) -> None:
        """Remember that something is missing."""
        self._problems[Problem(what, reason)] = None

    async def call(self, request: Callable[[], Awaitable[T]], *, is_stream: bool = False) -> T:
        """The result of a request; `is_stream` for one that yields data on the way, which is not
        repeated once it has begun.

        Raises ClusterError: ServerLostError if the API server cannot be reached, also at a second
        try; TimeLimitError after the deadline.
        """
        for is_last in (False, True):
            if self.lost:
                raise ServerLostError(self.lost)
            try:
                async with self._slots, asyncio.timeout_at(self.deadline):
                    return await request()
            except TimeoutError:
                raise TimeLimitError from None
            except (ConnectionFailedError, ConnectionLostError, ReadTimeoutError) as error:
                if is_stream and not isinstance(error, ConnectionFailedError):
                    raise
                if is_last or isinstance(error, ReadTimeoutError):
                    self.lost = self.lost or str(error)
                    raise ServerLostError(self.lost) from error
                await asyncio.sleep(min(_RETRY_SECONDS, self.seconds_left))
        raise AssertionError("unreachable")

    async def get_object(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """An object as the API server has it; None if it cannot be read, which is remembered."""
        what = f"{resource.kind} {name}"
        path = resource.object_path(namespace, name)
        try:
            return await self.call(lambda: self.connection.get_json(path))
        except ApiError as error:
            if error.code == 404:
                self.absent.add((resource, name))
            self.add_problem(what, _describe(error, resource, namespace))
        except ClusterError as error:
            self.add_problem(what, str(error))
        return None


def _describe(error: ApiError, resource: Resource, namespace: str) -> str:
    if error.code == 403:
        where = f" in namespace {namespace}" if resource.namespaced else ""
        return f"Not allowed: needs get on {resource.resource_name}{where}."
    if error.code == 404:
        return "It does not exist, or was deleted meanwhile."
    return str(error)
