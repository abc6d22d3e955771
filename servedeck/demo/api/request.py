"""A request as the handlers see it: where it goes, in which form the answer is wanted, and the
parameters of lists and watches with the real server's checks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from servedeck.demo.api import status
from servedeck.demo.api.access import User
from servedeck.demo.api.status import Cause
from servedeck.demo.resources import Resource

Json = dict[str, Any]

JSON = "application/json"
_ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


@dataclass(frozen=True)
class Call:
    """One request for a resource. `rest`: the raw path behind a proxy subresource."""

    method: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    user: User
    body: bytes = b""
    rest: str = ""

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def manager(self) -> str:
        """The field manager: as the client says, else the first word of its User-Agent."""
        agent = self.headers.get("User-Agent", "").partition("/")[0]
        return self.query.get("fieldManager") or agent[:128] or "unknown"

    @property
    def dry_run(self) -> bool:
        return bool(self.query.get("dryRun"))


class Form(NamedTuple):
    """How the answer is wanted: as "object", "table" or "partial" (metadata alone)."""

    kind: str
    include: str = "Metadata"


def form_of(call: Call) -> Form:
    """What the Accept header asks for; StatusError 406 when the server has nothing of it."""
    accept = call.headers.get("Accept", "") or "*/*"
    known = False
    for clause in accept.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        if media not in (JSON, "*/*", "application/*"):
            continue
        known = True
        wanted = dict(part.split("=", 1) for part in rest if "=" in part)
        if "as" not in wanted:
            return Form("object")
        if wanted.get("g") != "meta.k8s.io" or wanted.get("v") != "v1":
            continue
        if wanted["as"] == "Table":
            return Form("table", call.query.get("includeObject") or "Metadata")
        if wanted["as"] in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Form("partial")
    raise status.not_acceptable(_ACCEPTED) if known else status.nothing_acceptable(_ACCEPTED)


def truth(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter, as the API reads it: anything but "false" and "0" is true."""
    return query.get(name, "").lower() not in ("", "false", "0")


def integer(query: Mapping[str, str], name: str) -> int | None:
    """A whole number; StatusError 400 with Go's words."""
    text = query.get(name, "")
    if not text:
        return None
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        quoted = json.dumps(text, ensure_ascii=False)
        raise status.bad_request(f"strconv.ParseInt: parsing {quoted}: invalid syntax")
    return int(text)


def moment(query: Mapping[str, str], name: str) -> datetime | None:
    """A time in RFC 3339; StatusError 400 with Go's words."""
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
    """Cuts nanoseconds, which Python's datetime does not have."""
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


class ListOptions(NamedTuple):
    """Parameters of a list or a watch. `version`: None where none was given."""

    labels: str
    fields: str
    limit: int
    token: str
    version: int | None
    match: str
    timeout: int | None
    bookmarks: bool
    initial: bool | None


_MATCHES = ("Exact", "NotOlderThan", "")


def list_options(call: Call, *, watch: bool) -> ListOptions:
    """StatusError 400 or 422 in the real server's words."""
    query = call.query
    limit, timeout = integer(query, "limit") or 0, integer(query, "timeoutSeconds")
    initial = truth(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    options = ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=max(0, limit),
        token=query.get("continue", ""),
        version=_version(query.get("resourceVersion", ""), watch=watch),
        match=query.get("resourceVersionMatch", ""),
        timeout=timeout,
        bookmarks=truth(query, "allowWatchBookmarks"),
        initial=initial,
    )
    if causes := list(_contradictions(options, watch)):
        raise status.invalid("meta.k8s.io", "ListOptions", "", causes)
    return options


def _version(text: str, *, watch: bool) -> int | None:
    if not text:
        return None
    if re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return int(text)
    quoted = json.dumps(text, ensure_ascii=False)
    words = (
        f"resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid "
        "syntax"
    )
    if watch:
        raise status.StatusError(500, "", words)
    raise status.bad_request(f"invalid resource version: {words}")


def _contradictions(options: ListOptions, watch: bool) -> list[Cause]:
    field, found = "resourceVersionMatch", []

    def forbidden(words: str) -> None:
        found.append(Cause("FieldValueForbidden", f"Forbidden: {words}", field))

    if watch:
        if options.match and options.initial is None:
            forbidden(f"{field} is forbidden for watch unless sendInitialEvents is provided")
        if options.initial is not None and options.match != "NotOlderThan":
            forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        return found
    if options.initial is not None:
        forbidden_words = "sendInitialEvents is forbidden for list"
        found.append(
            Cause("FieldValueForbidden", f"Forbidden: {forbidden_words}", "sendInitialEvents")
        )
    if options.match and options.match not in _MATCHES:
        listed = ", ".join(f'"{word}"' for word in _MATCHES)
        quoted = json.dumps(options.match, ensure_ascii=False)
        words = f"Unsupported value: {quoted}: supported values: {listed}"
        found.append(Cause("FieldValueNotSupported", words, field))
    elif options.match and options.version is None:
        forbidden(f"{field} is forbidden unless resourceVersion is provided")
    elif options.match and options.token:
        forbidden(f"{field} is forbidden when continue is provided")
    elif options.match == "Exact" and options.version == 0:
        forbidden(f'{field} "Exact" is forbidden for resourceVersion "0"')
    return found


def too_large_version(version: int, current: int) -> status.StatusError:
    """504 for a version that the server has not reached yet."""
    words = "Too large resource version"
    return status.StatusError(
        504,
        "Timeout",
        f"Timeout: {words}: {version}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": words}],
            "retryAfterSeconds": 1,
        },
        headers={"Retry-After": "1"},
    )
