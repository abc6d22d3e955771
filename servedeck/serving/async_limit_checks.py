"""Which limits of an async queue are out of their range, or do not go together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set

from servedeck.serving.async_limits import (
    GATEWAY_MEMORY,
    LARGEST_STORED,
    LIMITS,
    MIB,
    AsyncQueueSettings,
    format_limit,
    value_of,
)
from servedeck.serving.quantity import format_quantity
from servedeck.serving.spec.issues import Issue, error, warning

_PROCESS_MEMORY, _LEAST_HELD = 64 * MIB, 64 * MIB
"""What a process of the gateway takes without bodies (docs/async-gateway.md), and what it may hold
of them at least (servedeck.gateway.public_api)."""
_SHORTEST_KEPT = 60
_SMALLEST_BODY = 1 << 10
"""Below it, a size was probably typed without its unit: a chat request alone has a few hundred
bytes."""


def check_limits(
    settings: AsyncQueueSettings,
    changed: Collection[str] | None = None,
    *,
    has_objects: bool = False,
) -> list[Issue]:
    """What is wrong with the limits, each at the name of one of them; errors come first.

    What was so before is only warned of: of limits that do not go together one must be among
    `changed`. None: all are. What is out of its range is not compared with others. With
    `has_objects` large bodies are not in the Valkey (`objects` of the gateway's settings).
    """
    names = frozenset(LIMITS if changed is None else changed)
    found = [
        (error if one.name in names else warning)(one.name, f"{problem}.")
        for one in LIMITS.values()
        if (problem := one.range_problem(value_of(settings, one.name)))
    ]
    wrong = {one.field for one in found}
    found += [
        *_lifetime_issues(settings, names, wrong),
        *_size_issues(settings, names, wrong, has_objects=has_objects),
        *_kept_issues(settings, names, wrong),
    ]
    return sorted(found, key=lambda one: not one.is_error)


def _text(settings: AsyncQueueSettings, name: str) -> str:
    """ "Task Lifetime (6h)"."""
    return f"{LIMITS[name].label} ({format_limit(name, value_of(settings, name))})"


def _lifetime_issues(
    settings: AsyncQueueSettings, names: Collection[str], wrong: Set[str]
) -> Iterator[Issue]:
    if "lifetime" in wrong or "attempt_timeout" in wrong:
        return
    involved = ("lifetime", "attempt_timeout", "max_attempts")
    at = next((one for one in involved if one in names), "")
    if settings.lifetime < settings.attempt_timeout:
        text = (
            f"{_text(settings, 'lifetime')} is shorter than {_text(settings, 'attempt_timeout')}: "
            "a task would expire in its first attempt; make it longer, or the timeout shorter."
        )
        is_new = at in ("lifetime", "attempt_timeout")
        yield error(at, text) if is_new else warning("lifetime", text)
    elif (
        at
        and "max_attempts" not in wrong
        and settings.lifetime < settings.max_attempts * settings.attempt_timeout
    ):
        yield warning(
            at,
            f"{settings.max_attempts} attempts of {_text(settings, 'attempt_timeout')} do not fit "
            f"into {_text(settings, 'lifetime')}: a task may expire before its last one.",
        )


def _size_issues(
    settings: AsyncQueueSettings,
    names: Collection[str],
    wrong: Set[str],
    *,
    has_objects: bool,
) -> Iterator[Issue]:
    sizes = ("max_body_bytes", "max_result_bytes")
    for name in sizes:
        if name in wrong:
            continue
        if value_of(settings, name) > LARGEST_STORED and not has_objects:
            text = (
                f"{_text(settings, name)} is more than a Valkey stores in one value (512Mi, "
                f"proto-max-bulk-len): enter at most {format_limit(name, LARGEST_STORED)}, or set "
                "objects in the gateway's settings, so that large bodies go to an object store."
            )
            yield error(name, text) if name in names else warning(name, text)
        elif name in names and value_of(settings, name) < _SMALLEST_BODY:
            limit = LIMITS[name]
            yield warning(
                name,
                f"{limit.label} is {format_limit(name, value_of(settings, name))} bytes, which "
                f"most bodies are longer than: {limit.meaning}. Sizes have a unit, as in "
                f"{limit.format(limit.default)}.",
            )
    held = _PROCESS_MEMORY
    held += sum(max(_LEAST_HELD, 2 * int(value_of(settings, name))) for name in sizes)
    at = next((one for one in sizes if one in names), "")
    if at and not (wrong & set(sizes)) and held > GATEWAY_MEMORY:
        yield warning(
            at,
            f"With {' and '.join(_text(settings, one) for one in sizes)}, a Pod of the gateway may "
            f"need {format_quantity(-(-held // MIB) * MIB, binary=True)} of memory, and is killed "
            f"at {format_quantity(GATEWAY_MEMORY, binary=True)}: it holds two of each at once.",
        )


def _kept_issues(
    settings: AsyncQueueSettings, names: Collection[str], wrong: Set[str]
) -> Iterator[Issue]:
    for name, what in (
        ("keep_completed", "who asks for a result later than that finds none"),
        ("keep_failed", "a failed task cannot be looked at or retried after that"),
    ):
        if name in names and name not in wrong and value_of(settings, name) < _SHORTEST_KEPT:
            yield warning(name, f"{_text(settings, name)} is short: {what}.")
