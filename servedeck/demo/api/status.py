"""Errors of the demo's API: Status objects with the real server's codes, reasons and messages.
Source: kubernetes apimachinery pkg/api/errors/errors.go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]


class StatusCause(NamedTuple):
    """One entry of `details.causes`."""

    reason: str
    message: str
    field: str = ""


class StatusError(Exception):
    """A failure response of the API; `str()` is its message."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.metadata: Json = {}

    def body(self) -> Json:
        """The `Status` object of the response."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _details(name: str, group: str, kind: str, **more: Any) -> Json:
    details: Json = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    return details | more


def not_found(group: str, plural: str, name: str) -> StatusError:
    return StatusError(
        404,
        "NotFound",
        f'{_qualified(plural, group)} "{name}" not found',
        details=_details(name, group, plural),
    )


def resource_not_found() -> StatusError:
    """404 for a resource that the server does not have."""
    return StatusError(
        404, "NotFound", "the server could not find the requested resource", details={}
    )


def already_exists(group: str, plural: str, name: str, *, terminating: bool = False) -> StatusError:
    """409; `terminating`: the existing object is being deleted."""
    start = "object is being deleted: " if terminating else ""
    return StatusError(
        409,
        "AlreadyExists",
        f'{start}{_qualified(plural, group)} "{name}" already exists',
        details=_details(name, group, plural),
    )


CONFLICT_MESSAGE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(group: str, plural: str, name: str, why: str = CONFLICT_MESSAGE) -> StatusError:
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {_qualified(plural, group)} "{name}": {why}',
        details=_details(name, group, plural),
    )


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """403. The real server writes the name even when it is empty: `pods "" is forbidden: …`,
    except for requests without a name, where there is none (`pods is forbidden: …`)."""
    subject = f'{_qualified(plural, group)} "{name}"' if name else _qualified(plural, group)
    return StatusError(
        403, "Forbidden", f"{subject} is forbidden: {why}", details=_details(name, group, plural)
    )


def invalid(group: str, kind: str, name: str, causes: Sequence[StatusCause]) -> StatusError:
    """422 with one cause for each invalid field. Several are listed in brackets, as Go's aggregate
    errors are; repeated messages are listed once."""
    texts = list(dict.fromkeys(f"{c.field}: {c.message}" if c.field else c.message for c in causes))
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return StatusError(
        422,
        "Invalid",
        f'{_qualified(kind, group)} "{name}" is invalid: {joined}',
        details=_details(
            name,
            group,
            kind,
            causes=[
                {
                    "reason": c.reason,
                    "message": c.message,
                    **({"field": c.field} if c.field else {}),
                }
                for c in causes
            ],
        ),
    )


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def method_not_allowed() -> StatusError:
    return StatusError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        details={},
    )


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    return StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    return StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(accepted),
    )


def nothing_acceptable(accepted: Sequence[str]) -> StatusError:
    """406 for an Accept header without any type that the server knows."""
    streams = [f"{media};stream=watch" for media in accepted if media != "application/yaml"]
    return StatusError(
        406,
        "NotAcceptable",
        f"406: Not Acceptable\n\nAvailable representations: {', '.join([*accepted, *streams])}",
        details={},
    )


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def too_large(message: str) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", message)


def internal(message: str) -> StatusError:
    return StatusError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        details={"causes": [{"message": message}]},
    )


def unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message)
