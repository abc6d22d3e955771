"""The path of a route as a client writes it before the paths of the server's API.

A route for `/v1` whose requests arrive as they are sent leads to `/v1/chat/completions` of the
server: a client begins at `/`. Only where the route replaces `/v1` by `/` is it a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

_PATH_CHARACTERS = "/-._~@:+,=%"
"""Characters of a URL's path that stand for themselves, in a shell, too; "%" begins what is
encoded already (RFC 3986, section 3.3)."""
_PATTERN_START = re.compile(r"\^?(/?)\(\?[a-zA-Z]+\)/?|\^")
"""An anchor and flags ("/(?i)llama"), which no path has."""
_PATTERN_SYNTAX = frozenset("([{*?+^$|\\")
_GROUP_REFERENCE = re.compile(r"\$\{?\d.*", re.DOTALL)


def normalize_path(path: str) -> str:
    """A path as a URL path prefix: with a leading slash and no trailing one, what may not stand
    there percent-encoded; "" for the root."""
    path = quote("".join(path.split()).strip("/"), safe=_PATH_CHARACTERS)
    return f"/{path}" if path else ""


def literal_prefix(pattern: str) -> str:
    """What every path begins with that a regular expression, or a path with "*" at its end,
    matches: "/team-a/llama(/|$)(.*)" and "/team-a/llama/.*" are "/team-a/llama". A dot stands for
    itself except before a quantifier, as in the names of models."""
    text = _PATTERN_START.sub("/", pattern, count=1) if _PATTERN_START.match(pattern) else pattern
    found: list[str] = []
    index = 0
    while index < len(text):
        char = text[index]
        is_escape = char == "\\" and not text[index + 1 : index + 2].isalnum()
        if char in _PATTERN_SYNTAX and not is_escape:
            break
        index += is_escape
        found.append(text[index : index + 1])
        index += 1
    quantifier = text[index : index + 1]
    if found and (quantifier in ("?", "{") or (quantifier in ("*", "+") and found[-1] == ".")):
        found.pop()
    return normalize_path("".join(found))


def is_pattern(path: str) -> bool:
    """Whether the path of an Ingress is a regular expression, whatever its type says: the NGINX
    Ingress controller reads all paths of a host as such where one of them is rewritten (its
    documentation, Ingress Path Matching)."""
    return not set("(*|$^\\").isdisjoint(path)


def rewritten_start(target: str) -> str:
    """The literal part of what an Ingress controller sends instead of a path: "" for "/$2"."""
    return normalize_path(_GROUP_REFERENCE.sub("", target))


class ClientPath(NamedTuple):
    base: str
    """What a client writes before the paths of the API; "" for nothing."""
    is_partial: bool
    """Whether the request that the serving is for does not arrive, only others of its API."""


def client_path(path: str, sent: str, api_paths: Sequence[str]) -> ClientPath:
    """How a route's `path` is used whose requests arrive at `sent`. `api_paths` are those of the
    server, the most used first."""
    parts = sent.split("/")[1:]
    for index in range(len(parts)):
        own = "/" + "/".join(parts[index:])
        if not path.endswith(own):
            continue
        if any(_is_below(one, own) for one in api_paths):
            return ClientPath(path.removesuffix(own), not _is_below(api_paths[0], own))
    return ClientPath(path, False)


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
