"""The functions in Lua, as a library of functions, and as scripts.

Scripts are for a server whose memory is full: it refuses FUNCTION LOAD then, even of a library that
it has, but neither SCRIPT LOAD nor a script that says that it is allowed."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Final

from servedeck.gateway.stores.task_records import (
    ATTEMPTS_KEPT,
    CANCELLED_MESSAGE,
    CLOSED_REFUSAL,
    DEFAULT_KEEP,
    EXPIRED_MESSAGE,
    FEED_KEPT,
    LOST_MESSAGE,
    NO_CREDENTIALS_REFUSAL,
    OUTPUT_SECONDS,
    UNHEARD_MESSAGE,
)

_SOURCE = "".join(
    files(__package__).joinpath(name).read_text(encoding="utf-8")
    for name in ("functions.lua", "sweeping.lua", "operations.lua")
)
for _name, _text in (
    ("EXPIRED", EXPIRED_MESSAGE),
    ("LOST", LOST_MESSAGE),
    ("UNHEARD", UNHEARD_MESSAGE),
    ("CANCELLED", CANCELLED_MESSAGE),
    ("CLOSED", CLOSED_REFUSAL),
    ("NO_CREDENTIALS", NO_CREDENTIALS_REFUSAL),
    ("FEED_KEPT", str(FEED_KEPT)),
    ("ATTEMPTS_KEPT", str(ATTEMPTS_KEPT)),
    ("OUTPUT_KEPT", str(int(OUTPUT_SECONDS * 1000))),
    ("DEFAULT_KEEP", str(int(DEFAULT_KEEP * 1000))),
):
    _SOURCE = _SOURCE.replace(f"${_name}$", _text)
LIBRARY: Final = f"servedeck_{sha256(_SOURCE.encode()).hexdigest()[:12]}"
"""Named after what is in it: gateways of two versions run beside each other on one server."""
LIBRARY_TEXT: Final = _SOURCE.replace("$LIBRARY", LIBRARY)

_HEAD = "#!lua name=$LIBRARY\n"
_REGISTER = "redis.register_function{function_name = '$LIBRARY_' .. name, callback = callback"
_REGISTER_END = ", flags = {...}}"


def make_script(*, in_full_memory: bool) -> str:
    """A script that calls the function that its last argument names."""
    head, register = _SOURCE.count(_HEAD), _SOURCE.count(_REGISTER + _REGISTER_END)
    if (head, register) != (1, 1):
        raise AssertionError("the library does not begin, or register its functions, as expected")
    flags = " flags=allow-oom" if in_full_memory else ""
    text = _SOURCE.replace(_HEAD, f"#!lua{flags}\nlocal FUNCTIONS = {{}}\n")
    text = text.replace(_REGISTER + _REGISTER_END, "FUNCTIONS[name] = callback")
    return f"{text}\nlocal called = table.remove(ARGV)\nreturn FUNCTIONS[called](KEYS, ARGV)\n"
