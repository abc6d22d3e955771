"""A request as text that is edited: its line, its headers and its body."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from servedeck.async_queue.curl import HIDDEN
from servedeck.serving.client_examples import example_body, primary_api_path
from servedeck.serving.text import format_size, one_line, sanitize, truncate

METHODS = ("POST", "PUT", "PATCH")
"""Methods of asynchronous requests."""
MAX_BODY = 32 << 10
"""Bytes of a body that is edited; each key takes time for all of its line."""
MAX_PATH = 8192
"""Characters that the gateway takes."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PATH = re.compile(r"/[!-~]*")
_NOT_SENT = frozenset(
    (
        *("accept-encoding", "connection", "content-length", "expect", "host", "keep-alive"),
        *("te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-async"),
    )
)
"""Headers that the connection sets, in lower case."""
_CREDENTIALS = frozenset(("authorization", "proxy-authorization", "cookie"))
_MAX_QUOTED = 40


class RequestError(ValueError):
    """The text is no valid request; str() is one sentence."""


class RequestText(NamedTuple):
    line: str
    """ "POST /v1/chat/completions"."""
    headers: str
    """One a line."""
    body: str


def example_request(template: str, model: str) -> RequestText:
    """A small request for the server of that template and the model."""
    path = primary_api_path(template, model)
    body = example_body(path, model)
    text = json.dumps({} if body is None else body, indent=2, ensure_ascii=False)
    return RequestText(f"POST {path}", "Content-Type: application/json", _printable(text))


# -- from a request -----------------------------------------------------------------------------


def headers_text(headers: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """The headers that can be sent again, and how many have a value that is hidden."""
    lines: list[str] = []
    hidden = 0
    for name, value in headers:
        if name.lower() in _NOT_SENT:
            continue
        if value == HIDDEN or name.lower() in _CREDENTIALS:
            hidden += 1
        else:
            lines.append(one_line(sanitize(f"{name}: {value}")))
    return "\n".join(lines), hidden


def body_text(body: bytes) -> str:
    """The body as it is edited: JSON indented if there is room for that, and what a terminal would
    obey as escapes of JSON. Raises RequestError for a body that cannot be edited."""
    if len(body) > MAX_BODY:
        raise RequestError(f"Its body has {format_size(len(body))}, which is too much to edit.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"Its body is no text ({format_size(len(body))}).") from None
    try:
        value = _parse(text)
        shown = _json_text(value, indent=2)
        if len(shown) > MAX_BODY:
            shown = _json_text(value, indent=None)
    except (ValueError, RecursionError):
        # No JSON, or it has numbers that would not be JSON any more.
        if sanitize(text) != text:
            raise RequestError("Its body is not JSON and has control characters.") from None
        return text
    if len(shown) > MAX_BODY:
        size = format_size(len(shown))
        raise RequestError(f"Its body has {size} with escapes, which is too much to edit.")
    return shown


def _json_text(value: object, *, indent: int | None) -> str:
    """Raises ValueError for numbers that would not be JSON."""
    separators = (",", ":") if indent is None else None
    shown = _printable(
        json.dumps(value, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False)
    )
    if sanitize(shown) == shown:
        return shown
    return json.dumps(value, indent=indent, separators=separators)


def _printable(text: str) -> str:
    """JSON with escapes for the characters that a terminal would not show as they are."""
    return "".join(
        one if one == "\n" or (one.isascii() and one.isprintable()) else _escaped(one)
        for one in text
    )


def _escaped(char: str) -> str:
    if sanitize(char) == char:
        return char
    return json.dumps(char)[1:-1] if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"


def _parse(text: str) -> object:
    """Raises ValueError, also for what is no JSON although Python reads it."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> object:
    raise RequestError(f"It is no valid JSON: {name} is no number of JSON.")


# -- to a request -------------------------------------------------------------------------------


def read_line(text: str) -> tuple[str, str]:
    """Method and path. Raises RequestError."""
    method, _, path = text.strip().partition(" ")
    path = path.strip()
    if method.upper() not in METHODS:
        shown = truncate(one_line(sanitize(method)), _MAX_QUOTED)
        raise RequestError(
            f"{shown or 'Nothing'} is no method of asynchronous requests; write one of"
            f" {', '.join(METHODS)} and the path, as in POST /v1/chat/completions."
        )
    if not _PATH.fullmatch(path):
        raise RequestError(
            "The path must begin with / and have no spaces; write other characters than ASCII"
            " percent-encoded."
        )
    if len(path) > MAX_PATH:
        raise RequestError(f"The path has more than {MAX_PATH:,} characters.")
    return method.upper(), path


def read_headers(text: str) -> list[tuple[str, str]]:
    """Raises RequestError."""
    found: list[tuple[str, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _TOKEN.fullmatch(name):
            raise RequestError(f"Line {number} is no header; write it as in Name: value.")
        if not (value.isascii() and value.isprintable()):
            raise RequestError(f"Line {number}: the value of {name} must be ASCII.")
        if name.lower() in ("authorization", "proxy-authorization"):
            raise RequestError(
                f"{name} cannot be sent: the API server's proxy removes it; use the curl line of"
                " Connect for a request with credentials."
            )
        if name.lower() in _NOT_SENT:
            raise RequestError(f"{name} is set by the connection; remove line {number}.")
        found.append((name, value))
    return found


def read_body(text: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """Checked if it is JSON by its Content-Type, or there is none. Raises RequestError."""
    types = [value for name, value in headers if name.lower() == "content-type"]
    content_type = types[0].partition(";")[0].strip().lower() if types else "application/json"
    if content_type == "application/json" or content_type.endswith("+json"):
        try:
            _parse(text)
        except RequestError:
            raise
        except json.JSONDecodeError as error:
            raise RequestError(
                f"It is no valid JSON, line {error.lineno}, column {error.colno}: {error.msg}."
            ) from None
        except (ValueError, RecursionError):
            raise RequestError("It is no JSON that can be read.") from None
    return text.encode("utf-8", "surrogatepass")
