"""Which rule of which HTTPRoute a request meets. Source: Gateway API v1.4, HTTPRoute
(precedence: HTTPRouteRule.matches; rewrites: HTTPPathModifier)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from servedeck.demo.resources import GATEWAYS
from servedeck.demo.store.objects import Json, Key, key_of

_NO_MATCH: Json = {}
_PREFIX, _REGULAR_EXPRESSION, _EXACT = "PathPrefix", "RegularExpression", "Exact"
_PATH_ORDER = (_PREFIX, _REGULAR_EXPRESSION, _EXACT)
"""Of Envoy Gateway, where the Gateway API leaves regular expressions open."""

_MAX_MATCHED_LENGTH = 1024
_MAX_REPETITIONS, _MAX_OPTIONS = 2, 8
"""In one pattern: with as many, a value of the maximum length takes some milliseconds."""
_ESCAPED_OR_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_REPETITION = re.compile(r"[*+{]")


@dataclass(frozen=True)
class RoutedRequest:
    """What rules match; `host` without a port, `path` without a query."""

    host: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in any case, as of aiohttp."""
    query: Mapping[str, str] = field(default_factory=dict)


class MatchedRule(NamedTuple):
    """A rule, and the match of it that the request meets."""

    route: Json
    rule: Json
    match: Json


def find_rule(
    gateway: Json, port: int, routes: Iterable[Json], request: RoutedRequest
) -> MatchedRule | None:
    """The rule that comes first, of the routes that are attached to a plain HTTP listener at `port`
    of the Gateway."""
    found: list[tuple[tuple[object, ...], MatchedRule]] = []
    for route in routes:
        host_order = max(_host_orders(gateway, port, route, request.host), default=0)
        if not host_order:
            continue
        meta = route["metadata"]
        for number, rule in enumerate(route["spec"].get("rules") or ()):
            for match in rule.get("matches") or (_NO_MATCH,):
                if _matches(match, request):
                    order = (-host_order, *_match_order(match), meta.get("creationTimestamp", ""))
                    order += (*key_of(route), number)
                    found.append((order, MatchedRule(route, rule, match)))
    return min(found, key=lambda one: one[0], default=(None, None))[1]


def rewrite_path(path: str, matched: MatchedRule) -> str:
    """The path that the backend gets."""
    for one in matched.rule.get("filters") or ():
        modifier = (one.get("urlRewrite") or {}).get("path") or {}
        if modifier.get("type") == "ReplaceFullPath":
            return modifier.get("replaceFullPath") or "/"
        if modifier.get("type") == "ReplacePrefixMatch":
            prefix = _path_of(matched.match)[1].rstrip("/")
            rest = path[len(prefix) :]
            return (modifier.get("replacePrefixMatch") or "").rstrip("/") + rest or "/"
    return path


def modify_headers(
    headers: Mapping[str, str], matched: MatchedRule, kind: str = "requestHeaderModifier"
) -> dict[str, str]:
    """The headers as the filters of the rule change them; `kind` is the filter's field."""
    found = dict(headers)
    for one in matched.rule.get("filters") or ():
        modifier = one.get(kind) or {}
        for name in modifier.get("remove") or ():
            _drop(found, name)
        for header in modifier.get("set") or ():
            _drop(found, header["name"])
            found[header["name"]] = header["value"]
        for header in modifier.get("add") or ():
            before = _drop(found, header["name"])
            found[header["name"]] = ",".join((*before, header["value"]))
    return found


def _drop(headers: dict[str, str], name: str) -> list[str]:
    """Remove a header, whatever its case; its values."""
    names = [one for one in headers if one.lower() == name.lower()]
    return [headers.pop(one) for one in names]


def _host_orders(gateway: Json, port: int, route: Json, host: str) -> Iterator[int]:
    """For each listener that the route is attached to, how much of the host its name and those of
    the route say; nothing where they do not match it."""
    for listener in (gateway.get("spec") or {}).get("listeners") or ():
        if listener.get("protocol") != "HTTP" or listener.get("port") != port:
            continue
        attached = any(
            _is_parent(one, key_of(gateway), listener, key_of(route)[0])
            for one in route["spec"].get("parentRefs") or ()
        )
        hosts = [one for one in route["spec"].get("hostnames") or ("*",) if _has_host(one, host)]
        if attached and hosts and _has_host(listener.get("hostname") or "*", host):
            yield max(len(one) + (0 if one.startswith("*") else 1000) for one in hosts)


def _is_parent(reference: Json, gateway: Key, listener: Json, namespace: str) -> bool:
    return (
        reference.get("kind", GATEWAYS.kind) == GATEWAYS.kind
        and (reference.get("namespace") or namespace, reference.get("name", "")) == gateway
        and reference.get("sectionName", listener.get("name")) == listener.get("name")
        and reference.get("port", listener.get("port")) == listener.get("port")
    )


def _has_host(pattern: str, host: str) -> bool:
    pattern, host = pattern.lower(), host.lower().rstrip(".")
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def _path_of(match: Json) -> tuple[str, str]:
    path = match.get("path") or {}
    return path.get("type") or _PREFIX, path.get("value") or "/"


def _match_order(match: Json) -> tuple[object, ...]:
    """The smallest comes first."""
    kind, value = _path_of(match)
    order = _PATH_ORDER.index(kind) if kind in _PATH_ORDER else -1
    headers, query = match.get("headers") or (), match.get("queryParams") or ()
    return -order, -len(value), not match.get("method"), -len(headers), -len(query)


def _matches(match: Json, request: RoutedRequest) -> bool:
    kind, value = _path_of(match)
    if kind == _PREFIX:
        prefix = value.rstrip("/")
        has_path = request.path == prefix or request.path.startswith(f"{prefix}/")
    else:
        has_path = _has_value({"type": kind, "value": value}, request.path)
    headers = {name.lower(): text for name, text in request.headers.items()}
    return (
        has_path
        and match.get("method", request.method) == request.method
        and all(
            _has_value(one, headers.get(str(one.get("name", "")).lower()))
            for one in match.get("headers") or ()
        )
        and all(
            _has_value(one, request.query.get(one.get("name", "")))
            for one in match.get("queryParams") or ()
        )
    )


def _has_value(wanted: Json, value: str | None) -> bool:
    """Whether a value is the wanted one, or matches its regular expression as a whole."""
    if value is None:
        return False
    text = str(wanted.get("value", ""))
    if wanted.get("type") == _REGULAR_EXPRESSION:
        return _matches_expression(text, value)
    return value == text


def _matches_expression(pattern: str, value: str) -> bool:
    """Whether a regular expression matches the whole value. Gateways use RE2, whose time is linear;
    Python's may take years, so that a pattern or a value for which it could matches nothing."""
    if len(value) > _MAX_MATCHED_LENGTH:
        return False
    plain = _ESCAPED_OR_CLASS.sub("x", pattern)
    repetitions = len(_REPETITION.findall(plain))
    if repetitions > _MAX_REPETITIONS or plain.count("?") > _MAX_OPTIONS:
        return False
    if _REPEATED_GROUP.search(plain):
        return False
    try:
        return re.fullmatch(pattern, value) is not None
    except (re.error, RecursionError, OverflowError):
        return False
