"""The part of a connection that controllers need, with one Lease and a few Pods behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from servedeck.cluster.http.connection import ApiResponse, Connection
from servedeck.cluster.http.errors import ApiError, ConnectionLostError


class FakeApi:
    """Objects by path, with resourceVersions. `fail` is raised instead of an answer; `log` has the
    requests that were answered."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.fail: Exception | None = None
        self.log: list[tuple[str, str, Any]] = []
        self._version = 100
        self.server_revision = 1
        self.clock = SimpleNamespace(offset=timedelta())

    @property
    def connection(self) -> Connection:
        return cast(Connection, self)

    def writes(self, ending: str = "") -> list[Any]:
        """Bodies of the requests that change what is at paths that end with this."""
        return [body for verb, path, body in self.log if verb != "GET" and path.endswith(ending)]

    def put(self, path: str, value: dict[str, Any]) -> dict[str, Any]:
        """As another client would."""
        self._version += 1
        kept = self.objects.get(path, {"metadata": {"uid": path, "name": path.rpartition("/")[2]}})
        merged = _merge(kept, value)
        merged["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = merged
        return merged

    async def get(self, path: str, _params: object = (), **_more: object) -> bytes:
        return (await self.request("GET", path)).body

    async def request(
        self, method: str, path: str, *, body: Any = None, **_more: object
    ) -> ApiResponse:
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        self.log.append((method, path, body))
        status = path.endswith("/status")
        target = path.removesuffix("/status")
        if method == "POST":
            target = f"{path}/{body['metadata']['name']}"
            if target in self.objects:
                raise ApiError(409, "AlreadyExists", "it exists")
        elif target not in self.objects:
            raise ApiError(404, "NotFound", "it does not exist")
        if method == "GET":
            return _answer(self.objects[target])
        version = body.get("metadata", {}).get("resourceVersion")
        if version not in (
            None,
            self.objects.get(target, {}).get("metadata", {}).get("resourceVersion"),
        ):
            raise ApiError(409, "Conflict", "it was changed")
        if status:
            body = _merge_conditions(self.objects[target], body)
        return _answer(self.put(target, body))

    @asynccontextmanager
    async def stream(self, _path: str, *_args: object, **_more: object) -> AsyncIterator[None]:
        """No watch: a candidate is to be right without one."""
        raise ConnectionLostError("There is no watch here.")
        yield


def _answer(value: dict[str, Any]) -> ApiResponse:
    return ApiResponse(200, {}, msgspec.json.encode(value))


def _merge(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(value)
    for key, one in patch.items():
        old = merged.get(key)
        merged[key] = _merge(old, one) if isinstance(old, dict) and isinstance(one, dict) else one
    return merged


def _merge_conditions(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    by_type = {one["type"]: one for one in value.get("status", {}).get("conditions", ())}
    by_type |= {one["type"]: one for one in patch["status"]["conditions"]}
    return {"status": {"conditions": list(by_type.values())}}
