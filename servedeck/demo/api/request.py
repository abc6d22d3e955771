"""A request for a resource, the requested response format, and the parameters of lists and watches
with the real server's checks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from servedeck.demo.api import status
from servedeck.demo.api.access import DemoUser
from servedeck.demo.api.status import StatusCause
from servedeck.demo.resources import Resource

Json = dict[str, Any]

JSON = "application/json"
_ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


@dataclass(frozen=True)
class ApiRequest:
    """One request for a resource. `proxy_path`: the path after the subresource proxy."""

    method: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    user: DemoUser
    body: bytes = b""
    proxy_path: str = ""

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def field_manager(self) -> str:
        """From the query, otherwise the first word of the User-Agent."""
        agent = self.headers.get("User-Agent", "").partition("/")[0]
        return self.query.get("fieldManager") or agent[:128] or "unknown"

    @property
    def dry_run(self) -> bool:
        return bool(self.query.get("dryRun"))


class ResponseFormat(NamedTuple):
    """The requested format: "object", "table" or "partial" (only metadata)."""

    kind: str
    include: str = "Metadata"


def response_format(call: ApiRequest) -> ResponseFormat:
    """The format of the Accept header; StatusError 406 for one that the server does not have."""
    accept = call.headers.get("Accept", "") or "*/*"
    known = False
    for clause in accept.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        if media not in (JSON, "*/*", "application/*"):
            continue
        known = True
        wanted = dict(part.split("=", 1) for part in rest if "=" in part)
        if "as" not in wanted:
            return ResponseFormat("object")
        if wanted.get("g") != "meta.k8s.io" or wanted.get("v") != "v1":
            continue
        if wanted["as"] == "Table":
            return ResponseFormat("table", call.query.get("includeObject") or "Metadata")
        if wanted["as"] in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return ResponseFormat("partial")
    raise status.not_acceptable(_ACCEPTED) if known else status.nothing_acceptable(_ACCEPTED)


def parse_bool(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter as the API reads it: everything but "", "false" and "0" is true."""
    return query.get(name, "").lower() not in ("", "false", "0")


def parse_int(query: Mapping[str, str], name: str) -> int | None:
    """An integer parameter; StatusError 400 with Go's message."""
    text = query.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        quoted = json.dumps(text, ensure_ascii=False)
        raise status.bad_request(f"strconv.ParseInt: parsing {quoted}: invalid syntax")
    return int(text)


def parse_time(query: Mapping[str, str], name: str) -> datetime | None:
    """An RFC 3339 parameter; StatusError 400 with Go's message."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        found = datetime.fromisoformat(_microseconds(text))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        quoted = json.dumps(text, ensure_ascii=False)
        raise status.bad_request(
            f'parsing time {quoted} as "2006-01-02T15:04:05Z07:00": cannot parse {quoted} as "2006"'
        )
    return found


def _microseconds(text: str) -> str:
    """Truncates nanoseconds, which Python's datetime does not have."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


class ListOptions(NamedTuple):
    """Parameters of a list or a watch. `version` None: not given."""

    label_selector: str
    field_selector: str
    limit: int
    continue_token: str
    version: int | None
    match: str
    timeout: int | None
    bookmarks: bool
    send_initial_events: bool | None


_MATCHES = ("Exact", "NotOlderThan", "")


def parse_list_options(call: ApiRequest, *, watch: bool) -> ListOptions:
    """StatusError 400 or 422 for invalid parameters."""
    query = call.query
    limit, timeout = parse_int(query, "limit") or 0, parse_int(query, "timeoutSeconds")
    initial = parse_bool(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    options = ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=max(0, limit),
        continue_token=query.get("continue", ""),
        version=_version(query.get("resourceVersion", ""), watch=watch),
        match=query.get("resourceVersionMatch", ""),
        timeout=timeout,
        bookmarks=parse_bool(query, "allowWatchBookmarks"),
        send_initial_events=initial,
    )
    if causes := list(_option_conflicts(options, watch)):
        raise status.invalid("meta.k8s.io", "ListOptions", "", causes)
    return options


def _version(text: str, *, watch: bool) -> int | None:
    if not text:
        return None
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return int(text)
    quoted = json.dumps(text, ensure_ascii=False)
    message = (
        f"resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid "
        "syntax"
    )
    if watch:
        raise status.StatusError(500, "", message)
    raise status.bad_request(f"invalid resource version: {message}")


def _option_conflicts(options: ListOptions, watch: bool) -> list[StatusCause]:
    field, found = "resourceVersionMatch", []

    def forbidden(message: str) -> None:
        found.append(StatusCause("FieldValueForbidden", f"Forbidden: {message}", field))

    if watch:
        if options.match and options.send_initial_events is None:
            forbidden(f"{field} is forbidden for watch unless sendInitialEvents is provided")
        if options.send_initial_events is not None and options.match != "NotOlderThan":
            forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        return found
    if options.send_initial_events is not None:
        forbidden_words = "sendInitialEvents is forbidden for list"
        found.append(
            StatusCause("FieldValueForbidden", f"Forbidden: {forbidden_words}", "sendInitialEvents")
        )
    if options.match and options.match not in _MATCHES:
        listed = ", ".join(f'"{word}"' for word in _MATCHES)
        quoted = json.dumps(options.match, ensure_ascii=False)
        message = f"Unsupported value: {quoted}: supported values: {listed}"
        found.append(StatusCause("FieldValueNotSupported", message, field))
    elif options.match and options.version is None:
        forbidden(f"{field} is forbidden unless resourceVersion is provided")
    elif options.match and options.continue_token:
        forbidden(f"{field} is forbidden when continue is provided")
    elif options.match == "Exact" and options.version == 0:
        forbidden(f'{field} "Exact" is forbidden for resourceVersion "0"')
    return found


def version_too_large_error(version: int, current: int) -> status.StatusError:
    """504 for a version that the server has not reached yet."""
    message = "Too large resource version"
    return status.StatusError(
        504,
        "Timeout",
        f"Timeout: {message}: {version}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": message}],
            "retryAfterSeconds": 1,
        },
        headers={"Retry-After": "1"},
    )
