"""Which Pod of a serving a connection is forwarded to."""

from __future__ import annotations

import re
from collections.abc import Collection

from servedeck.fleet.views import PodView, ServingView

_LEAVING_STATUSES = ("Terminating", "Unknown")
"""kubectl's STATUS of a Pod that is being deleted, also on a lost node."""


def is_usable(pod: PodView) -> bool:
    """Whether new connections go to the Pod: it is Ready and stays, as for a Service."""
    return pod.is_ready and not pod.finished and pod.status not in _LEAVING_STATUSES


def usable_pods(view: ServingView) -> list[PodView]:
    """The Pods that new connections may go to, the best one first: of the current revision, then
    the one that was created first."""
    found = [pod for pod in view.pods if is_usable(pod) and _serves_requests(pod, view)]
    return sorted(
        found,
        key=lambda pod: (
            pod.old_revision,
            pod.created.timestamp() if pod.created is not None else 0.0,
            pod.name,
        ),
    )


def _serves_requests(pod: PodView, view: ServingView) -> bool:
    """Of a LeaderWorkerSet only the leaders serve: their names end with the number of the group,
    "llama-0", those of the workers with two (https://lws.sigs.k8s.io, Labels and names)."""
    if view.kind != "LeaderWorkerSet":
        return True
    return re.fullmatch(rf"{re.escape(view.key.name)}-\d+", pod.name) is not None


class PodChoice:
    """The Pod that new connections go to: the same one while it is usable."""

    def __init__(self, first_uid: str = "") -> None:
        """`first_uid`: the Pod to begin with, if it is usable; "" for the best one."""
        self._wanted_uid = first_uid
        self.pod: PodView | None = None
        """None while no Pod is usable."""

    def update(self, view: ServingView | None) -> bool:
        """Choose again from the Pods as they are now; returns whether another Pod was chosen."""
        return self._choose_from(usable_pods(view) if view is not None else [])

    def update_without(self, view: ServingView | None, refused: Collection[str]) -> bool | None:
        """The same without the Pods with these uids; None, and no change, if no other is usable."""
        found = usable_pods(view) if view is not None else []
        others = [pod for pod in found if pod.uid not in refused]
        return self._choose_from(others) if others else None

    def _choose_from(self, found: list[PodView]) -> bool:
        kept = next((pod for pod in found if pod.uid == self._wanted_uid), None)
        before = self.pod
        self.pod = kept or next(iter(found), None)
        if self.pod is not None:
            self._wanted_uid = self.pod.uid
        return _uid(before) != _uid(self.pod)


def _uid(pod: PodView | None) -> str:
    return pod.uid if pod is not None else ""
