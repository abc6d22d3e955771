"""What can go wrong on the way to a cluster, each as one sentence that says what to try."""

from __future__ import annotations

from typing import Any

from servedeck.serving.text import one_line, sanitize, truncate

_MAX_MESSAGE_CELLS = 600
"""Cells of a server's own words that are shown; admission webhooks answer with whole documents."""


class ClusterError(Exception):
    """Something between us and the cluster failed.

    `str()` is one sentence, sanitised, that says what is wrong and what to try. `exit_code` is
    what a command that fails with it exits with (kubectl's: 1).
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(clean_message(message))


class ConfigError(ClusterError):
    """The kubeconfig, a context or an in-cluster account cannot be used as it is."""


class CredentialsError(ClusterError):
    """No credentials can be had: a plugin failed, a token file is gone, a login ran out."""


class ConnectionFailedError(ClusterError):
    """The server cannot be reached: no such host, nothing listens, no trust in its certificate."""


class ConnectionLostError(ClusterError):
    """A connection that stood was lost in the middle of a response."""

    closed_cleanly = False
    """Whether the other side closed it in order: then everything that was sent before has come."""


class ReadTimeoutError(ClusterError):
    """The server sent nothing for as long as we wait."""


class InvalidResponseError(ClusterError):
    """The server answered with something that is not what a Kubernetes API answers."""


class ReadOnlyError(ClusterError):
    """A change was asked for on a connection that may only read."""


class ApiError(ClusterError):
    """The API server refused a request.

    `code` is the HTTP status (or the code of an ERROR event), `reason` and `message` are those of
    its Status object, `details` that object's details as they came ({} where they are no object),
    `retry_after` the seconds it asks us to wait. `message` is the server's own words, sanitised;
    `str()` also says what to try.
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
    ) -> None:
        self.code = code
        self.reason = clean_message(reason)
        self.message = clean_message(message)
        self.details: dict[str, Any] = details if isinstance(details, dict) else {}
        self.retry_after = retry_after
        super().__init__(display_message or self._default_message())

    def _default_message(self) -> str:
        said = (self.message or self.reason or "no reason given").rstrip(".?!")
        match self.code:
            case 401:
                return f"The server does not accept the credentials (401: {said}); log in again."
            case 403:
                return f"The server forbids this (403): {said}."
            case 429:
                wait = f"; retry after {self.retry_after:.0f} s" if self.retry_after else ""
                return f"The server limits the request rate (429){wait}."
            case code if code >= 500:
                return f"The server failed ({code}): {said}."
            case code:
                return f"The server refused the request ({code}): {said}."

    def with_message(self, display_message: str) -> ApiError:
        """The same refusal in another sentence, of somebody who knows what was asked for."""
        return ApiError(
            self.code,
            self.reason,
            self.message,
            details=self.details,
            retry_after=self.retry_after,
            display_message=display_message,
        )

    @property
    def causes(self) -> tuple[dict[str, Any], ...]:
        """The objects among the details' causes, whatever else stands there: a proxy or a webhook
        may have written the answer."""
        causes = self.details.get("causes")
        if not isinstance(causes, list):
            return ()
        return tuple(cause for cause in causes if isinstance(cause, dict))

    @property
    def expired(self) -> bool:
        """The resource version or continue token is too old: list anew."""
        return self.code == 410 or self.reason in ("Expired", "Gone")

    @property
    def resource_version_too_large(self) -> bool:
        """The resource version is from the future: the cluster was rebuilt or restored.

        Source: kubernetes apiserver pkg/storage/errors.go, NewTooLargeResourceVersionError.
        """
        return "Too large resource version" in self.message or any(
            cause.get("reason") == "ResourceVersionTooLarge" for cause in self.causes
        )


def clean_message(text: str) -> str:
    """Text that others wrote, made fit for one sentence on a screen."""
    return truncate(one_line(sanitize(text)), _MAX_MESSAGE_CELLS)


def describe_error(error: BaseException) -> str:
    """One sentence for any exception; those of this package carry theirs already."""
    if isinstance(error, ClusterError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "The server did not answer in time."
    if isinstance(error, OSError):
        said = error.strerror or str(error) or type(error).__name__
        where = f" ({error.filename})" if error.filename else ""
        return clean_message(f"Operating system error: {said}{where}.")
    return clean_message(f"Unexpected {type(error).__name__}: {str(error).rstrip('.')}.")
