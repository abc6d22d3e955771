"""What operators set at run time, of which none overwrites unseen what another one has set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from servedeck.async_queue.tasks import Changed, ControlProblem, ControlState
from servedeck.gateway.admin_api.answers import Call, Reply, bad_parameter, json_reply
from servedeck.gateway.asgi import PROBLEM_JSON, HttpError, RawHeaders
from servedeck.gateway.stores.store import Control, StoreError, TaskStore

_MAX_CONCURRENCY = 100_000
_MAX_TRIES = 50
"""Changes of others, each between a look and the change, after which one is given up."""


class QueueControl(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of /queue/control: what is left out stays as it is, null goes back to the settings."""

    concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    pod_concurrency: int | msgspec.UnsetType | None = msgspec.UNSET
    version: str | msgspec.UnsetType = msgspec.UNSET
    """That of the values which this change was made for, as If-Match."""


class ControlChanges:
    """Its methods raise HttpError and StoreError."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    async def read(self) -> Reply:
        control = await self._store.control()
        return json_reply(_state_of(control), _etag(control))

    async def set(self, call: Call) -> Reply:
        try:
            wanted = msgspec.json.decode(await call.body(), type=QueueControl)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad_parameter("body", f"{error}.") from None
        fields: dict[str, Any] = {}
        for name, value, least in (
            ("concurrency", wanted.concurrency, 0),
            ("pod_concurrency", wanted.pod_concurrency, 1),
        ):
            if not isinstance(value, msgspec.UnsetType):
                _check_number(name, value, least)
                fields[name] = value
        match = call.header(b"if-match")

        def is_meant(present: Control) -> bool:
            is_version = wanted.version in (msgspec.UNSET, present.version)
            return is_version and (not match or _matches(match, present.version))

        return await self.change(lambda old: old._replace(**fields), is_meant)

    async def change(
        self,
        update: Callable[[Control], Control],
        is_meant: Callable[[Control], bool] = lambda _present: True,
    ) -> Reply:
        """Set what `update` makes of the present values, unless they are not meant (412). What
        somebody else changes at the same time is kept."""
        for _ in range(_MAX_TRIES):
            old = await self._store.control()
            if not is_meant(old):
                return _mismatch(old)
            new = update(old)
            if new == old or await self._store.set_control(new, old):
                return json_reply(Changed(changed=int(new != old)), _etag(new))
        raise HttpError(
            503,
            "The control is changed too often",
            "Others change it at the same time; try again in a moment.",
            retry_after=StoreError.retry_after,
        )


def _matches(header: str, version: str) -> bool:
    """Whether If-Match names it; weak tags never match (RFC 9110, section 13.1.1)."""
    tags = [one.strip() for one in header.split(",")]
    return "*" in tags or f'"{version}"' in tags


def _mismatch(present: Control) -> Reply:
    problem = ControlProblem(
        title="The control was changed meanwhile",
        status=412,
        detail="Somebody else has set other values since the version that was given: look at them,"
        " and try again with their version.",
        present=_state_of(present),
    )
    return Reply(msgspec.json.encode(problem), PROBLEM_JSON, 412, _etag(present))


def _state_of(control: Control) -> ControlState:
    return ControlState(
        paused=control.paused,
        closed=bool(control.closed_by),
        concurrency=control.concurrency,
        pod_concurrency=control.pod_concurrency,
        version=control.version,
    )


def _etag(control: Control) -> RawHeaders:
    return ((b"etag", f'"{control.version}"'.encode()),)


def _check_number(name: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value <= _MAX_CONCURRENCY:
        raise bad_parameter(name, f"{name} must be from {least} to {_MAX_CONCURRENCY}, or null.")
