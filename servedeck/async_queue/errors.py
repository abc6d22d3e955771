"""Why the async queue of a serving cannot be seen or changed. `str()` of each is one sentence."""

from __future__ import annotations

from servedeck.cluster.http.errors import ClusterError


class AsyncQueueError(ClusterError):
    """The gateway does not do what it is asked."""


class NotInstalledError(AsyncQueueError):
    """The serving has no async gateway."""


class NotPermittedError(AsyncQueueError):
    """The user may not read the gateway's Secret or use its Service, or the gateway does not accept
    the key."""


class UnreachableError(AsyncQueueError):
    """No gateway answers: try again later. What it was asked to do may have been done."""


class AdminUrlError(AsyncQueueError):
    """`async_admin_url` cannot be used, or does not lead to the gateway."""


class StoreUnavailableError(UnreachableError):
    """A gateway answers, but cannot ask its store."""


class TooOldError(AsyncQueueError):
    """The gateway is of another version, which does not have this."""


class RefusedError(AsyncQueueError):
    """The gateway refuses what it is asked: it is not possible as things are, or not valid."""


class ChangedMeanwhileError(RefusedError):
    """Somebody else has changed the control of the queue since it was read."""


class NoSuchTaskError(RefusedError):
    """The task is not stored, or not any longer, or has no response."""
