"""The state of a session, combined from the states of all reflectors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from servedeck.cluster.watch.kinds import DEPLOYMENTS, ResourceKind
from servedeck.cluster.watch.reflector import Reflector, ReflectorPhase
from servedeck.serving.duration import format_duration

CLOCK_WARNING_THRESHOLD = timedelta(minutes=1)
"""A difference between the clocks that is reported."""


@dataclass(frozen=True, slots=True)
class SessionState:
    """The state at one moment. `phase` is CONNECTING (no response yet), LISTING (`loaded` and
    `remaining` count), LIVE, RETRYING (the server is unavailable), UNAUTHORIZED or FORBIDDEN."""

    phase: ReflectorPhase
    message: str = ""
    """The problem and what to do, one sentence; "" without a problem."""
    last_update_at: datetime | None = None
    """Time of the last update, None before the first."""
    loaded: int = 0
    remaining: int | None = None
    """Objects not yet loaded, None if the server does not report it."""
    missing_permissions: tuple[str, ...] = ()
    """Missing permissions, verb and resource: "list pods"."""
    stale_for: float | None = None
    """Seconds since the last update if the views are stale."""
    clock_warning: str = ""
    """That the clocks differ, one sentence; "" if they do not."""
    settled: bool = False
    """Every kind has been listed, or is forbidden or does not exist, and all views are built."""

    @property
    def has_failed(self) -> bool:
        """Whether `message` is an error because of which the views may be out of date."""
        return self.phase in (
            ReflectorPhase.RETRYING,
            ReflectorPhase.UNAUTHORIZED,
            ReflectorPhase.FORBIDDEN,
        )

    def looks_same(self, other: SessionState | None) -> bool:
        """Whether the states look the same, apart from elapsed seconds."""
        return other is not None and _visible_state(self) == _visible_state(other)


def _visible_state(state: SessionState) -> tuple[object, ...]:
    return (
        state.phase,
        state.message,
        state.loaded,
        state.remaining,
        state.missing_permissions,
        state.clock_warning,
        state.stale_for is None,
        state.settled,
    )


def is_settled(reflector: Reflector, synced: Collection[ResourceKind]) -> bool:
    """Whether the reflector's kind is listed, or cannot be."""
    return reflector.kind in synced or reflector.phase in (
        ReflectorPhase.FORBIDDEN,
        ReflectorPhase.MISSING,
    )


def combine_states(
    reflectors: Mapping[ResourceKind, Reflector],
    synced: Collection[ResourceKind],
    required: Iterable[ResourceKind],
    *,
    views_built: bool,
    views_pending: bool,
    restriction: str,
    missing_permissions: tuple[str, ...],
    clock_warning: str,
    monotonic: float,
    now: datetime,
) -> SessionState:
    """The state of the session.

    `synced`: kinds whose list is complete. `required`: those without which nothing is shown;
    `views_built`: whether the initial views are built; `views_pending`: whether views are still to
    be built. `restriction`: reported if there is no error.
    """
    required_reflectors = [reflectors[kind] for kind in required]
    non_optional = [reflector for kind, reflector in reflectors.items() if not kind.optional]
    ages = [
        (age, reflector)
        for reflector in non_optional
        if reflector.kind in synced
        and reflector.phase not in (ReflectorPhase.FORBIDDEN, ReflectorPhase.MISSING)
        and (age := reflector.stale_seconds(monotonic)) is not None
    ]
    worst = max(ages, key=lambda pair: pair[0], default=None)
    phase, sentence = _overall_phase(
        required_reflectors, views_built, worst[1] if worst else None, restriction
    )
    loading = [each for each in required_reflectors if each.remaining_count is not None]
    last_contacts = [
        each.last_contact for each in non_optional if each.kind in synced and each.last_contact
    ]
    last = monotonic - worst[0] if worst is not None else max(last_contacts, default=0.0)
    return SessionState(
        phase=phase,
        message=sentence,
        last_update_at=now - timedelta(seconds=monotonic - last) if last else None,
        loaded=sum(each.loaded_count for each in required_reflectors),
        remaining=sum(each.remaining_count or 0 for each in loading) if loading else None,
        missing_permissions=missing_permissions,
        clock_warning=clock_warning,
        stale_for=worst[0] if worst is not None and views_built else None,
        settled=not views_pending and all(is_settled(each, synced) for each in reflectors.values()),
    )


def describe_clock_offset(offset: timedelta) -> str:
    """A sentence on clocks that differ by more than a minute, "" otherwise. `offset` is the API
    server's clock minus the local one."""
    minutes = round(abs(offset) / timedelta(minutes=1))
    if abs(offset) <= CLOCK_WARNING_THRESHOLD:
        return ""
    side = "behind" if offset > timedelta() else "ahead of"
    return (
        f"The clock here is {format_duration(60 * minutes)} {side} the API server's; "
        "ages use the server's time."
    )


def _overall_phase(
    required: list[Reflector], views_built: bool, stale: Reflector | None, restriction: str
) -> tuple[ReflectorPhase, str]:
    for each in required:
        if each.phase is ReflectorPhase.UNAUTHORIZED:
            return each.phase, each.error
    for each in required:
        if each.kind is DEPLOYMENTS and each.phase is ReflectorPhase.FORBIDDEN:
            return each.phase, restriction or each.error
    if not views_built:
        for each in required:
            if each.phase is ReflectorPhase.RETRYING:
                return each.phase, each.error
        if any(
            each.loaded_count or each.phase is not ReflectorPhase.CONNECTING for each in required
        ):
            return ReflectorPhase.LISTING, ""
        return ReflectorPhase.CONNECTING, ""
    if stale is not None:
        message = (
            f"The watch of {stale.kind.resource_name} has received nothing for too long; "
            "reconnecting."
        )
        return ReflectorPhase.RETRYING, stale.error or message
    return ReflectorPhase.LIVE, restriction


def missing_permission(reflector: Reflector) -> str:
    """Verb and resource that a forbidden reflector needs: "list pods"."""
    verb = "watch" if reflector.error.startswith("Cannot watch") else "list"
    return f"{verb} {reflector.kind.resource_name}"
