"""Why the API server rejected a write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.serving.objects.field_changes import FieldConflict
from servedeck.serving.text import one_line, sanitize


class RejectionReason(StrEnum):
    """Category of a rejection; the screens offer a different remedy for each."""

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
class Rejection:
    reason: RejectionReason
    message: str
    """One sentence, sanitized."""
    fields: tuple[str, ...] = ()
    """Field paths named by the server, such as ".spec.replicas"."""
    conflicts: tuple[FieldConflict, ...] = ()
    """For a conflict: the owner of each field and both values."""


_UNDECLARED_FIELD_PATTERN = re.compile(r"(\.[\w.\[\]\"=/-]+): field not declared in schema")


def rejection_from_api_error(error: ApiError) -> Rejection:
    """Classify a rejected write. The server uses 403 for four different causes and returns 500 for
    an unknown field in server-side apply, so the message is inspected."""
    text = one_line(sanitize(error.message or str(error)))
    fields = tuple(
        one_line(sanitize(str(cause["field"]))) for cause in error.causes if cause.get("field")
    )
    if error.code == 409 and error.reason == "AlreadyExists":
        return Rejection(RejectionReason.ALREADY_EXISTS, text)
    if error.code == 409:
        return Rejection(RejectionReason.CONFLICT, text, fields)
    if error.code == 403:
        if "quota" in text:
            return Rejection(RejectionReason.QUOTA, text)
        if " cannot " in text:
            return Rejection(RejectionReason.PERMISSION, str(error))
        return Rejection(RejectionReason.POLICY, text)
    if error.code == 404:
        if error.details.get("kind") == "namespaces" or "namespaces " in text:
            return Rejection(
                RejectionReason.NAMESPACE_NOT_FOUND,
                f"{text}: create it or choose another namespace.",
            )
        return Rejection(
            RejectionReason.UNKNOWN_KIND, "The cluster does not have this kind of object."
        )
    if error.code in (400, 422) or _UNDECLARED_FIELD_PATTERN.search(text):
        undeclared = tuple(_UNDECLARED_FIELD_PATTERN.findall(text))
        return Rejection(RejectionReason.INVALID, text, fields or undeclared)
    return Rejection(RejectionReason.SERVER_ERROR, str(error))


def rejection_from_error(error: ClusterError) -> Rejection:
    """Like rejection_from_api_error, for any failure; one without a response is a SERVER_ERROR."""
    return (
        rejection_from_api_error(error)
        if isinstance(error, ApiError)
        else Rejection(RejectionReason.SERVER_ERROR, str(error))
    )
