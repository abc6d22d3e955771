"""The functions as scripts, for a server whose memory is full: it refuses FUNCTION LOAD then, even
of a library that it has, but neither SCRIPT LOAD nor a script that says that it is allowed."""

from __future__ import annotations

_HEAD = "#!lua name=$LIBRARY\n"
_REGISTER = "redis.register_function{function_name = '$LIBRARY_' .. name, callback = callback"
_REGISTER_END = ", flags = {...}}"


def script_of(source: str, *, in_full_memory: bool) -> str:
    """A script that calls the function that its last argument names. `source` is that of the
    library; raises ValueError if it is not as it is known here."""
    head, register = source.count(_HEAD), source.count(_REGISTER + _REGISTER_END)
    if (head, register) != (1, 1):
        raise ValueError("the library does not begin, or register its functions, as expected")
    flags = " flags=allow-oom" if in_full_memory else ""
    text = source.replace(_HEAD, f"#!lua{flags}\nlocal FUNCTIONS = {{}}\n")
    text = text.replace(_REGISTER + _REGISTER_END, "FUNCTIONS[name] = callback")
    return f"{text}\nlocal called = table.remove(ARGV)\nreturn FUNCTIONS[called](KEYS, ARGV)\n"
