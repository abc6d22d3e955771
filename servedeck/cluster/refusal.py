"""Why the API server refused a write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.serving.objects.diff import FieldConflict
from servedeck.serving.text import one_line, sanitize


class RefusalReason(StrEnum):
    """Category of a refusal; the screens offer a different remedy for each."""

    ALREADY_EXISTS = "name taken"
    PERMISSION = "permission"
    QUOTA = "quota"
    POLICY = "policy"
    INVALID = "invalid"
    CONFLICT = "conflict"
    NAMESPACE_NOT_FOUND = "namespace"
    UNKNOWN_KIND = "unknown kind"
    SERVER_ERROR = "server"


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: RefusalReason
    message: str
    """One sentence, sanitized."""
    fields: tuple[str, ...] = ()
    """Field paths named by the server, such as ".spec.replicas"."""
    conflicts: tuple[FieldConflict, ...] = ()
    """For a conflict: the owner of each field and both values."""


_UNDECLARED_FIELD_PATTERN = re.compile(r"(\.[\w.\[\]\"=/-]+): field not declared in schema")


def refusal_from_api_error(error: ApiError) -> Refusal:
    """Classify a refused write. The server uses 403 for four different causes and returns 500 for
    an unknown field in server-side apply, so the message is inspected."""
    text = one_line(sanitize(error.message or str(error)))
    fields = tuple(
        one_line(sanitize(str(cause["field"]))) for cause in error.causes if cause.get("field")
    )
    if error.code == 409 and error.reason == "AlreadyExists":
        return Refusal(RefusalReason.ALREADY_EXISTS, text)
    if error.code == 409:
        return Refusal(RefusalReason.CONFLICT, text, fields)
    if error.code == 403:
        if "quota" in text:
            return Refusal(RefusalReason.QUOTA, text)
        if " cannot " in text:
            return Refusal(RefusalReason.PERMISSION, str(error))
        return Refusal(RefusalReason.POLICY, text)
    if error.code == 404:
        if error.details.get("kind") == "namespaces" or "namespaces " in text:
            return Refusal(
                RefusalReason.NAMESPACE_NOT_FOUND, f"{text}: create it or choose another namespace."
            )
        return Refusal(RefusalReason.UNKNOWN_KIND, "The cluster does not have this kind of object.")
    if error.code in (400, 422) or _UNDECLARED_FIELD_PATTERN.search(text):
        undeclared = tuple(_UNDECLARED_FIELD_PATTERN.findall(text))
        return Refusal(RefusalReason.INVALID, text, fields or undeclared)
    return Refusal(RefusalReason.SERVER_ERROR, str(error))


def refusal_from_error(error: ClusterError) -> Refusal:
    """Like refusal_from_api_error, for any failure; one without a response is a SERVER_ERROR."""
    return (
        refusal_from_api_error(error)
        if isinstance(error, ApiError)
        else Refusal(RefusalReason.SERVER_ERROR, str(error))
    )
