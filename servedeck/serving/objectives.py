"""The objectives of a serving: targets that are written in an annotation of its Deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from servedeck.serving.text import one_line, sanitize, truncate

MAX_SECONDS = 86_400.0
"""An objective of more than a day is a mistake of units."""
MAX_LENGTH = 1000
"""Characters of the annotation that are read."""

_SEPARATORS = re.compile(r"[\s,;]+")
_NUMBER = r"(?:[0-9]{1,12}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})"
_TIME = re.compile(
    rf"(?:(?P<hours>{_NUMBER}) ?h)? ?(?:(?P<minutes>{_NUMBER}) ?m(?!s))?"
    rf" ?(?:(?P<seconds>{_NUMBER}) ?s)? ?(?:(?P<milliseconds>{_NUMBER}) ?ms)?"
)
_PLAIN = re.compile(_NUMBER)
_SHARE = re.compile(rf"({_NUMBER}) ?(%?)")
_UNITS: Mapping[str, Decimal] = {
    "hours": Decimal(3600),
    "minutes": Decimal(60),
    "seconds": Decimal(1),
    "milliseconds": Decimal("0.001"),
}


class ObjectiveError(ValueError):
    """A text that is no target; str() is one sentence."""


class ObjectiveKind(StrEnum):
    """What a target is of; the value is its name in the annotation."""

    P95 = "p95"
    """P95 of the time of a request, in seconds."""
    TTFT = "ttft"
    """P95 of the time to the first token, in seconds."""
    ERRORS = "errors"
    """Share of the requests that the server failed to answer (5xx)."""


OBJECTIVE_LABELS: Mapping[ObjectiveKind, str] = {
    ObjectiveKind.P95: "P95",
    ObjectiveKind.TTFT: "TTFT",
    ObjectiveKind.ERRORS: "Error rate",
}


@dataclass(frozen=True, slots=True)
class Objectives:
    """Targets; None for none."""

    p95: float | None = None
    """Seconds, of the time of a request."""
    ttft: float | None = None
    """Seconds, P95 of the time to the first token."""
    error_rate: float | None = None
    """Share of the requests, more than 0 and less than 1."""
    others: tuple[str, ...] = ()
    """Entries of other names, as they are written; not sanitized."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no target."""
        return not self.targets

    @property
    def targets(self) -> Mapping[ObjectiveKind, float]:
        """The targets that there are, in seconds and as a share."""
        found = (self.p95, self.ttft, self.error_rate)
        return {
            kind: target
            for kind, target in zip(ObjectiveKind, found, strict=True)
            if target is not None
        }


def parse_objectives(text: str) -> tuple[Objectives, tuple[str, ...]]:
    """The objectives of an annotation, "p95=2s ttft=500ms errors=1%", and what is wrong with
    entries that are left out, or not known, in sanitized sentences. Of two entries of one name the
    first one counts."""
    found: dict[ObjectiveKind, float] = {}
    others: list[str] = []
    problems: list[str] = []
    if len(text) > MAX_LENGTH:
        problems.append(f"Only the first {MAX_LENGTH} characters of the objectives are read.")
    for word, kind, value in _entries(text):
        if kind is None:
            others.append(word)
            problems.append(f"{_quote(word)} is no objective; write p95=2s, ttft=500ms, errors=1%.")
        elif kind in found:
            problems.append(f"There are two objectives {kind}; remove {_quote(word)}.")
        else:
            try:
                found[kind] = parse_target(kind, value)
            except ObjectiveError as error:
                problems.append(f"{kind}: {error}")
    objectives = Objectives(
        found.get(ObjectiveKind.P95),
        found.get(ObjectiveKind.TTFT),
        found.get(ObjectiveKind.ERRORS),
        tuple(others),
    )
    return objectives, tuple(problems)


def objective_texts(text: str) -> Mapping[ObjectiveKind, str]:
    """The values of an annotation as they are written, also those that are no targets; sanitized
    and on one line."""
    found: dict[ObjectiveKind, str] = {}
    for _, kind, value in _entries(text):
        if kind is not None:
            found.setdefault(kind, one_line(sanitize(value)))
    return found


def format_objectives(objectives: Objectives) -> str:
    """The annotation of objectives, with the entries of other names; "" for none."""
    words = [f"{kind}={format_target(kind, one)}" for kind, one in objectives.targets.items()]
    return " ".join((*words, *objectives.others))


def parse_target(kind: ObjectiveKind, text: str) -> float:
    """Seconds, or the share of errors. Raises ObjectiveError."""
    return parse_share(text) if kind is ObjectiveKind.ERRORS else parse_seconds(text)


def format_target(kind: ObjectiveKind, target: float) -> str:
    """The target as `parse_target` reads it: "1m30s", "1%"."""
    return format_share(target) if kind is ObjectiveKind.ERRORS else format_seconds(target)


def parse_seconds(text: str) -> float:
    """Seconds of "2s", "500ms", "1m30s" or "1.5", a number of seconds. Raises ObjectiveError for
    anything else, and for less than a microsecond or more than a day."""
    text = text.strip().lower()
    if not text:
        raise ObjectiveError("A time is missing; enter one such as 2s, 500ms or 1m30s.")
    if _PLAIN.fullmatch(text):
        text += "s"
    match = _TIME.fullmatch(text)
    if match is None:
        raise ObjectiveError(f"{_quote(text)} is not a time; enter one such as 2s, 500ms or 1m30s.")
    seconds = float(sum(Decimal(match[unit] or 0) * factor for unit, factor in _UNITS.items()))
    if seconds < 1e-6:
        what = "more than 0" if seconds <= 0 else "at least a microsecond"
        raise ObjectiveError(f"A time must be {what}; enter one such as 2s or 500ms.")
    if seconds > MAX_SECONDS:
        raise ObjectiveError("A time of more than a day is no objective; enter less.")
    return seconds


def format_seconds(seconds: float) -> str:
    """Seconds as `parse_seconds` reads exactly them: "2s", "500ms", "1m30s"."""
    value = Decimal(repr(seconds))
    if value < 1:
        return f"{_plain(value * 1000)}ms"
    hours, rest = divmod(value, 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{_plain(amount)}{unit}" for amount, unit in parts if amount)


def parse_share(text: str) -> float:
    """The share of "1%" or "0.01". Raises ObjectiveError for anything else, and for one that is not
    from one in a billion to less than 1."""
    text = text.strip()
    if not text:
        raise ObjectiveError("A share is missing; enter one such as 1% or 0.01.")
    match = _SHARE.fullmatch(text)
    if match is None:
        raise ObjectiveError(f"{_quote(text)} is not a share; enter one such as 1% or 0.01.")
    number, percent = Decimal(match[1]), match[2]
    share = float(number / 100 if percent else number)
    if share < 1e-9:
        what = "more than 0" if share <= 0 else "at least one in a billion"
        raise ObjectiveError(f"A share of errors must be {what}; enter one such as 1%.")
    if share >= 1:
        hint = "" if percent else f"; did you mean {_plain(number)}%?"
        raise ObjectiveError(f"A share of errors must be less than 100%{hint or '.'}")
    return share


def format_share(share: float) -> str:
    """The share as `parse_share` reads exactly it: "1%"."""
    return f"{_plain(Decimal(repr(share)) * 100)}%"


def _entries(text: str) -> Iterator[tuple[str, ObjectiveKind | None, str]]:
    """Each entry as it is written, its kind, None for another one, and its value."""
    for word in _SEPARATORS.split(text[:MAX_LENGTH]):
        name, equals, value = word.partition("=")
        if word:
            known = name.lower() in tuple(ObjectiveKind) and equals
            yield word, ObjectiveKind(name.lower()) if known else None, value


def _plain(value: Decimal) -> str:
    """A number without an exponent, and without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _quote(text: str) -> str:
    return repr(truncate(one_line(sanitize(text)), 40))
