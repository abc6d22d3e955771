"""Brings the image of a container onto the node, or says why that fails.

Source: kubernetes pkg/kubelet/images/image_manager.go.
"""

from __future__ import annotations

from collections.abc import Callable

from servedeck.demo import event_messages
from servedeck.demo.controllers.kubelet import images
from servedeck.demo.controllers.kubelet.container_state import ContainerContext
from servedeck.demo.controllers.kubelet.images import ResolvedImage
from servedeck.demo.workloads import failure_simulation

BACKOFF_INITIAL_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 300.0
"""Back-off of pulls and of crashes; each delay is twice the one before."""
SYNC_SECONDS = 12.0
"""Until the kubelet tries a Pod again that it could not start."""
_PRESENT_CHECK_SECONDS = 0.9
"""A pull of an image that the node has already: only its manifest is fetched."""


class ImagePuller:
    """Calls `on_pulled` when the image is on the node; tries again until then."""

    def __init__(self, container: ContainerContext, on_pulled: Callable[[], None]) -> None:
        self._container = container
        self._on_pulled = on_pulled
        self._backoff = 0.0

    def start(self) -> None:
        container = self._container
        container.next_step.cancel()
        name = str(container.spec.get("image") or "")
        has_secret = bool(container.pod.spec.get("imagePullSecrets"))
        image = container.status.image = images.resolve_image(name, has_pull_secret=has_secret)
        if not image.reference:
            container.event(event_messages.INSPECT_FAILED, image=name)
            self._fail("InvalidImageName", event_messages.IMAGE_NAME_INVALID.format(image=name))
            container.next_step.after(SYNC_SECONDS * 5, self.start)
            return
        policy = container.spec.get("imagePullPolicy") or (
            "Always" if name.endswith(":latest") else "IfNotPresent"
        )
        present = container.services.images.has(container.pod.node, image.reference)
        if policy == "Never" and not present:
            container.event(event_messages.NEVER_PULL, image=name)
            self._fail("ErrImageNeverPull", event_messages.NEVER_PULL.template.format(image=name))
            container.next_step.after(SYNC_SECONDS * 5, self.start)
        elif present and policy != "Always":
            container.event(event_messages.IMAGE_PRESENT, image=name)
            self._on_pulled()
        else:
            self._pull(name, image, present=present)

    def _fail(self, reason: str, message: str) -> None:
        self._container.event(event_messages.FAILED, error=reason)
        self._container.wait(reason, message)

    def _pull(self, name: str, image: ResolvedImage, *, present: bool) -> None:
        container = self._container
        container.event(event_messages.PULLING, image=name)
        if not container.status.state:
            container.wait(container.pod.initial_reason)
        annotated = failure_simulation.parse_duration(
            container.pod.annotations.get(failure_simulation.PULL_TIME_ANNOTATION)
        )
        seconds = annotated if annotated is not None else image.pull_seconds
        if present and not image.error:
            seconds = _PRESENT_CHECK_SECONDS

        def finish() -> None:
            if image.error:
                self._back_off(name, image.error)
                return
            self._backoff = 0.0
            container.event(
                event_messages.PULLED,
                image=name,
                took=event_messages.format_go_duration(round(seconds, 3)),
                size=image.size,
            )
            container.services.images.add(container.pod.node, image.reference)
            self._on_pulled()

        container.next_step.after(seconds, finish)

    def _back_off(self, name: str, error: str) -> None:
        """Shows ErrImagePull, then ImagePullBackOff until the back-off is over."""
        container = self._container
        container.event(event_messages.PULL_FAILED, image=name, error=error)
        self._fail("ErrImagePull", error)
        self._backoff = min(BACKOFF_MAX_SECONDS, self._backoff * 2 or BACKOFF_INITIAL_SECONDS)
        until = container.now + self._backoff

        def sync() -> None:
            if container.now >= until:
                self.start()
                return
            container.event(event_messages.PULL_BACKOFF, image=name)
            message = event_messages.PULL_WAITING.format(image=name, error=error)
            self._fail("ImagePullBackOff", message)
            container.next_step.after(max(0.5, until - container.now), self.start)

        container.next_step.after(min(SYNC_SECONDS, self._backoff) - 0.5, sync)
