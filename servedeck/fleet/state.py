"""How true the picture is: one state made of those of all reflectors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from servedeck.cluster.watch.kinds import DEPLOYMENTS, Kind
from servedeck.cluster.watch.reflector import Phase, Reflector


@dataclass(frozen=True, slots=True)
class LiveState:
    """A moment's state. `phase` is CONNECTING (nothing heard yet), LISTING (`loaded` and
    `remaining` count), LIVE, RETRYING (the server is away), UNAUTHORIZED or FORBIDDEN."""

    phase: Phase
    sentence: str = ""
    """What is the matter and what to do, one sentence; "" while all is well."""
    since: datetime | None = None
    """Time of the last news, None before the first."""
    loaded: int = 0
    remaining: int | None = None
    """Objects still to come, None where the server does not say."""
    missing: tuple[str, ...] = ()
    """What may not be done, verb and resource: "list pods"."""
    stale_for: float | None = None
    """Seconds since the last news where they are too many to call the picture live."""
    settled: bool = False
    """Every kind has been listed, or is known to be forbidden or absent, and all views are built of
    what is known."""

    @property
    def failed(self) -> bool:
        """Whether `sentence` tells of a failure that keeps the picture from being true."""
        return self.phase in (Phase.RETRYING, Phase.UNAUTHORIZED, Phase.FORBIDDEN)

    def same(self, other: LiveState | None) -> bool:
        """Whether a reader who counts the seconds alone would see no difference."""
        return other is not None and _told(self) == _told(other)


def _told(state: LiveState) -> tuple[object, ...]:
    return (
        state.phase,
        state.sentence,
        state.loaded,
        state.remaining,
        state.missing,
        state.stale_for is None,
        state.settled,
    )


def is_settled(reflector: Reflector, synced: Collection[Kind]) -> bool:
    """Whether the reflector's kind is known as far as it can be."""
    return reflector.kind in synced or reflector.phase in (Phase.FORBIDDEN, Phase.MISSING)


def combine(
    reflectors: Mapping[Kind, Reflector],
    synced: Collection[Kind],
    core: Iterable[Kind],
    *,
    shown: bool,
    pending: bool,
    notice: str,
    missing: tuple[str, ...],
    monotonic: float,
    now: datetime,
) -> LiveState:
    """The state of the whole.

    `synced`: kinds whose list is complete. `core`: those without which nothing is shown, `shown`:
    whether something is; `pending`: whether views are still to be built. `notice`: a restriction
    that holds while all is well.
    """
    main = [reflectors[kind] for kind in core]
    vital = [reflector for kind, reflector in reflectors.items() if not kind.optional]
    ages = [
        (age, reflector)
        for reflector in vital
        if reflector.kind in synced
        and reflector.phase not in (Phase.FORBIDDEN, Phase.MISSING)
        and (age := reflector.stale_for(monotonic)) is not None
    ]
    worst = max(ages, key=lambda pair: pair[0], default=None)
    phase, sentence = _phase(main, shown, worst[1] if worst else None, notice)
    loading = [each for each in main if each.remaining is not None]
    heard = [each.last_news for each in vital if each.kind in synced and each.last_news]
    last = monotonic - worst[0] if worst is not None else max(heard, default=0.0)
    return LiveState(
        phase=phase,
        sentence=sentence,
        since=now - timedelta(seconds=monotonic - last) if last else None,
        loaded=sum(each.loaded for each in main),
        remaining=sum(each.remaining or 0 for each in loading) if loading else None,
        missing=missing,
        stale_for=worst[0] if worst is not None and shown else None,
        settled=not pending and all(is_settled(each, synced) for each in reflectors.values()),
    )


def _phase(
    main: list[Reflector], shown: bool, stale: Reflector | None, notice: str
) -> tuple[Phase, str]:
    for each in main:
        if each.phase is Phase.UNAUTHORIZED:
            return each.phase, each.error
    for each in main:
        if each.kind is DEPLOYMENTS and each.phase is Phase.FORBIDDEN:
            return each.phase, notice or each.error
    if not shown:
        for each in main:
            if each.phase is Phase.RETRYING:
                return each.phase, each.error
        if any(each.loaded or each.phase is not Phase.CONNECTING for each in main):
            return Phase.LISTING, ""
        return Phase.CONNECTING, ""
    if stale is not None:
        silent = f"The server has sent no {stale.kind.resource} for too long; it is asked again."
        return Phase.RETRYING, stale.error or silent
    return Phase.LIVE, notice


def lacking(reflector: Reflector) -> str:
    """Verb and resource that a forbidden reflector needs: "list pods"."""
    verb = "watch" if reflector.error.startswith("Cannot watch") else "list"
    return f"{verb} {reflector.kind.resource}"
