"""Errors of cluster access; each message is one sentence with a remedy."""

from __future__ import annotations

from typing import Any

from servedeck.serving.text import one_line, sanitize, truncate

_MAX_MESSAGE_CELLS = 600
"""Maximum width of a quoted server message; admission webhooks may return whole documents."""


class ClusterError(Exception):
    """Base class for failed cluster access.

    `str()` is one sanitized sentence with the problem and a remedy. `exit_code` is the exit code of
    a command that fails with it (1, as in kubectl).
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(clean_message(message))


class ConfigError(ClusterError):
    """The kubeconfig, a context or the in-cluster service account is invalid."""


class CredentialsError(ClusterError):
    """No credentials are available: a plugin failed, a token file is missing, a login expired."""


class ConnectionFailedError(ClusterError):
    """The server is unreachable: unknown host, connection refused, untrusted certificate."""


class CertificateRefusedError(ConnectionFailedError):
    """The server, or a proxy in front of it, does not accept the client certificate, and ended the
    TLS connection for that; an API server itself answers with 401."""


class ConnectionLostError(ClusterError):
    """An established connection was lost during a response."""

    closed_cleanly = False
    """Whether the peer closed it regularly, so that everything sent before has arrived."""


class ReadTimeoutError(ClusterError):
    """The server sent nothing within the read timeout."""


class InvalidResponseError(ClusterError):
    """The response is not a valid Kubernetes API response."""


class ReadOnlyError(ClusterError):
    """A write was requested on a read-only connection."""

    def __init__(self) -> None:
        super().__init__(
            "servedeck runs with --readonly; restart it without that option to make changes."
        )


class ApiError(ClusterError):
    """The API server returned an error.

    `code` is the HTTP status (or the code of an ERROR event), `reason` and `message` are those of
    its Status object, `details` its details ({} if they are not an object), `retry_after` the
    seconds to wait before a retry. `message` is the server's sanitized message; `str()` also
    contains a remedy. `body` is the answer as it came, as far as it was read: a Service may have
    sent it.
    """

    def __init__(
        self,
        code: int,
        reason: str = "",
        message: str = "",
        *,
        details: object = None,
        retry_after: float | None = None,
        display_message: str = "",
        body: bytes = b"",
    ) -> None:
        self.code = code
        self.body = body
        self.reason = clean_message(reason)
        self.message = clean_message(message)
        self.details: dict[str, Any] = details if isinstance(details, dict) else {}
        self.retry_after = retry_after
        super().__init__(display_message or self._default_message())

    @property
    def may_be_executed(self) -> bool:
        """Whether the request may have been executed, or still be, all the same: a proxy or the API
        server gave up waiting (504, or 500 of etcd), but not if a webhook could not be called."""
        return self.code >= 500 and "failed calling webhook" not in self.message

    def _default_message(self) -> str:
        reason = (self.message or self.reason or "no reason given").rstrip(".?!")
        match self.code:
            case 401:
                return f"The server does not accept the credentials (401: {reason}); log in again."
            case 403:
                return f"The server forbids this (403): {reason}."
            case 429:
                wait = f"; retry after {self.retry_after:.0f} s" if self.retry_after else ""
                return f"The server limits the request rate (429){wait}."
            case code if code >= 500:
                return f"The server failed ({code}): {reason}."
            case code:
                return f"The server rejected the request ({code}): {reason}."

    def with_message(self, display_message: str) -> ApiError:
        """The same error with another message, for callers that know the context of the request."""
        return ApiError(
            self.code,
            self.reason,
            self.message,
            details=self.details,
            retry_after=self.retry_after,
            display_message=display_message,
            body=self.body,
        )

    @property
    def causes(self) -> tuple[dict[str, Any], ...]:
        """The causes in `details` that are objects: a proxy or a webhook may send anything."""
        causes = self.details.get("causes")
        if not isinstance(causes, list):
            return ()
        return tuple(cause for cause in causes if isinstance(cause, dict))

    @property
    def expired(self) -> bool:
        """The resource version or continue token has expired: a relist is needed."""
        return self.code == 410 or self.reason in ("Expired", "Gone")

    @property
    def resource_version_too_large(self) -> bool:
        """The resource version is newer than the server's: the cluster was rebuilt or restored.

        Source: kubernetes apiserver pkg/storage/errors.go, NewTooLargeResourceVersionError.
        """
        return "Too large resource version" in self.message or any(
            cause.get("reason") == "ResourceVersionTooLarge" for cause in self.causes
        )


def is_anonymous(error: ClusterError) -> bool:
    """Whether the API server forbade a request that it took for anonymous: the login is missing."""
    return isinstance(error, ApiError) and error.code == 403 and "system:anonymous" in error.message


def clean_message(text: str) -> str:
    """External text, sanitized and truncated for use in a message."""
    return truncate(one_line(sanitize(text)), _MAX_MESSAGE_CELLS)


def describe_error(error: BaseException) -> str:
    """One sentence for any exception; a ClusterError already has one."""
    if isinstance(error, ClusterError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "The server did not answer in time."
    if isinstance(error, OSError):
        reason = error.strerror or str(error) or type(error).__name__
        where = f" ({error.filename})" if error.filename else ""
        return clean_message(f"Operating system error: {reason}{where}.")
    return clean_message(f"Unexpected {type(error).__name__}: {str(error).rstrip('.')}.")
