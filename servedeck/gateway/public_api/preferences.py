"""The headers by which a caller says what the gateway shall do with a request."""

from __future__ import annotations

import re

import msgspec

from servedeck.gateway.asgi import HttpError, Scope
from servedeck.gateway.delivery.callback_targets import CallbackRefusedError, check_target
from servedeck.gateway.settings import GatewaySettings
from servedeck.gateway.stores.store import DEFAULT_URGENCY

MAX_KEY_LENGTH = 255
MAX_CALLBACK_LENGTH = 2048

_ASYNC_VALUES = (b"true", b"1")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?\Z", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,9}\Z", re.ASCII)
_PREFERENCE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(\"[^\"]*\"|[^\s;,\"]*))?")
_URGENCY = re.compile(r"u=([0-7])\Z")
_SF_STRING = re.compile(r'"((?:[^"\\]|\\["\\])*)"\Z')
_CALLBACK = re.compile(r"https?://[!-~]+\Z", re.IGNORECASE)


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a request asked of the gateway; its limits are checked."""

    has_async_header: bool = False
    """X-Async: the request is asynchronous."""
    respond_async: bool = False
    """The same as a preference, which a server may ignore."""
    wait: int | None = None
    """Seconds for which the caller waits, at most the longest that is allowed."""
    idempotency_key: str = ""
    urgency: int = DEFAULT_URGENCY
    lifetime: float = 0.0
    attempt_seconds: float = 0.0
    max_attempts: int = 0
    callback: str = ""


_SYNCHRONOUS = Preferences()


def read_preferences(scope: Scope, settings: GatewaySettings) -> Preferences:
    """Raises HttpError with a sentence that names the header."""
    asked: list[bytes] = []
    prefers: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"x-async":
            asked.append(value)
        elif name == b"prefer":
            prefers.append(value)
    if not asked and not prefers:
        return _SYNCHRONOUS
    if any(one not in _ASYNC_VALUES for one in asked):
        raise _bad("X-Async", 'must be "true", or be left out')
    preferred = _preferred(prefers)
    respond_async = "respond-async" in preferred
    if not asked and not respond_async:
        return _SYNCHRONOUS
    values = _values(scope)
    return Preferences(
        has_async_header=bool(asked),
        respond_async=respond_async,
        wait=wait_of(preferred, settings),
        idempotency_key=_idempotency_key(values.get("idempotency-key")),
        urgency=_urgency(values.get("priority", "")),
        lifetime=_seconds("X-Async-Timeout", values, settings.lifetime),
        attempt_seconds=_seconds("X-Async-Attempt-Timeout", values, settings.attempt_timeout),
        max_attempts=_attempts(values, settings.max_attempts),
        callback=_callback(values.get("x-async-callback"), settings),
    )


def preferred_wait(scope: Scope, settings: GatewaySettings) -> int | None:
    """`Prefer: wait=N` of a request for a task."""
    prefers = [value for name, value in scope["headers"] if name == b"prefer"]
    return wait_of(_preferred(prefers), settings) if prefers else None


def asked_lifetime(scope: Scope, settings: GatewaySettings) -> float:
    """X-Async-Timeout, or the longest that is allowed. Raises HttpError."""
    return _seconds("X-Async-Timeout", _values(scope), settings.lifetime)


def wait_of(preferred: dict[str, str], settings: GatewaySettings) -> int | None:
    """A preference that is not understood is ignored, as RFC 7240 demands."""
    value = preferred.get("wait", "")
    return min(int(value), int(settings.max_wait)) if _INTEGER.match(value) else None


def parse_wait(value: str, settings: GatewaySettings) -> int:
    """The parameter `wait` of a query. Raises HttpError."""
    if not _INTEGER.match(value):
        raise HttpError(400, "Bad wait", "wait must be a number of seconds, such as wait=30.")
    return min(int(value), int(settings.max_wait))


_NAMES = frozenset(
    {
        b"idempotency-key",
        b"priority",
        b"x-async-timeout",
        b"x-async-attempt-timeout",
        b"x-async-max-attempts",
        b"x-async-callback",
    }
)


def _values(scope: Scope) -> dict[str, str]:
    values: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        if raw_name not in _NAMES:
            continue
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip()
        if name == "priority" and name in values:
            value = f"{values[name]}, {value}"  # a list: RFC 9110, section 5.3
        elif name in values:
            raise _bad(_spelled(name), "must be given once")
        values[name] = value
    return values


def _preferred(prefers: list[bytes]) -> dict[str, str]:
    """The preferences by name; of repeated ones the first counts (RFC 7240, section 2)."""
    found: dict[str, str] = {}
    for part in b",".join(prefers).decode("latin-1").split(","):
        if match := _PREFERENCE.match(part):
            found.setdefault(match[1].lower(), (match[2] or "").strip('"'))
    return found


def _idempotency_key(value: str | None) -> str:
    """A string of structured fields, as the draft of the header has it, or the bare text, as most
    clients send it."""
    if value is None:
        return ""
    match = _SF_STRING.match(value)
    key = re.sub(r"\\(.)", r"\1", match[1]) if match else value
    if not key or len(key) > MAX_KEY_LENGTH:
        raise _bad("Idempotency-Key", f"must have 1 to {MAX_KEY_LENGTH} characters")
    return key


def _urgency(value: str) -> int:
    """What is not understood is ignored, as RFC 9218, section 4, demands."""
    urgency = DEFAULT_URGENCY
    for part in value.split(","):
        if match := _URGENCY.match(part.strip()):
            urgency = int(match[1])  # of repeated ones the last counts: RFC 8941, section 4.2.2
    return urgency


def _seconds(name: str, values: dict[str, str], most: float) -> float:
    value = values.get(name.lower())
    if value is None:
        return most
    if not _NUMBER.match(value) or not 0 < float(value) <= most:
        raise _bad(name, f"must be a number of seconds, more than 0 and at most {most:g}")
    return float(value)


def _attempts(values: dict[str, str], most: int) -> int:
    value = values.get("x-async-max-attempts")
    if value is None:
        return most
    if not _INTEGER.match(value) or not 1 <= int(value) <= most:
        raise _bad("X-Async-Max-Attempts", f"must be 1 to {most}")
    return int(value)


def _callback(value: str | None, settings: GatewaySettings) -> str:
    if value is None:
        return ""
    name = "X-Async-Callback"
    if not settings.callback_hosts:
        raise _bad(name, "cannot be used: this gateway calls no hosts")
    if len(value) > MAX_CALLBACK_LENGTH or not _CALLBACK.match(value):
        raise _bad(name, "must be a URL such as https://host/path")
    try:
        check_target(value, settings.callback_hosts)
    except CallbackRefusedError as error:
        raise HttpError(400, f"Bad {name}", f"The header {name} cannot be used: {error}") from None
    return value


def _spelled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _bad(name: str, what: str) -> HttpError:
    return HttpError(400, f"Bad {name}", f"The header {name} {what}.")
