"""The image of a container: found on the node, pulled, or why not.

Source: kubernetes pkg/kubelet/images/image_manager.go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from servedeck.demo import event_messages
from servedeck.demo.controllers.kubelet import images
from servedeck.demo.controllers.kubelet.state import ContainerState
from servedeck.demo.store import Json
from servedeck.demo.workloads import failure_simulation

if TYPE_CHECKING:
    from servedeck.demo.controllers.kubelet.pod import PodWorker

BACKOFF_FIRST = 10.0
BACKOFF_MOST = 300.0
"""Seconds of the back-offs of pulls and of crashes; each is twice the one before."""
SYNC = 12.0
"""Seconds until the kubelet looks at a Pod again that it could not bring up."""


class Pulling(ContainerState, ABC):
    """A container up to the moment when its image is there; then `_create` goes on."""

    def __init__(self, pod: PodWorker, spec: Json, *, init: bool) -> None:
        super().__init__(pod, spec, init=init)
        self._pull_backoff = 0.0
        self._pull_error = ""

    def begin(self) -> None:
        """Brings the container up; also called again by what made it wait."""
        self._cancel_step()
        image = str(self.spec.get("image") or "")
        secret = bool(self.pod.spec.get("imagePullSecrets"))
        self._image = images.find(image, secret=secret)
        if not self._image.reference:
            self._event(event_messages.INSPECT_FAILED, image=image)
            self._event(event_messages.FAILED, error="InvalidImageName")
            text = event_messages.IMAGE_NAME_INVALID.format(image=image)
            self._wait("InvalidImageName", text)
            self._later(SYNC * 5, self.begin)
            return
        policy = self.spec.get("imagePullPolicy") or (
            "Always" if image.endswith(":latest") else "IfNotPresent"
        )
        present = self.pod.kubelet.has_image(self.pod.node, self._image.reference)
        if policy == "Never" and not present:
            self._event(event_messages.NEVER_PULL, image=image)
            self._event(event_messages.FAILED, error="ErrImageNeverPull")
            self._wait("ErrImageNeverPull", event_messages.NEVER_PULL.text.format(image=image))
            self._later(SYNC * 5, self.begin)
        elif present and policy != "Always":
            self._event(event_messages.IMAGE_PRESENT, image=image)
            self._create()
        else:
            self._pull(image, present=present)

    def _pull(self, image: str, *, present: bool) -> None:
        self._event(event_messages.PULLING, image=image)
        if not self.state:
            self._wait(self.pod.creating)
        told = failure_simulation.duration(self.pod.annotations.get(failure_simulation.PULL))
        took = told if told is not None else self._image.seconds
        took = 0.9 if present and not self._image.error else took

        def done() -> None:
            if self._image.error:
                self._pull_failed(image)
                return
            self._pull_backoff = 0.0
            self._event(
                event_messages.PULLED,
                image=image,
                took=event_messages.go_duration(round(took, 3)),
                size=self._image.size,
            )
            self.pod.kubelet.add_image(self.pod.node, self._image.reference)
            self._create()

        self._later(took, done)

    def _pull_failed(self, image: str) -> None:
        self._pull_error = self._image.error
        self._event(event_messages.PULL_FAILED, image=image, error=self._pull_error)
        self._event(event_messages.FAILED, error="ErrImagePull")
        self._wait("ErrImagePull", self._pull_error)
        self._pull_backoff = min(BACKOFF_MOST, self._pull_backoff * 2 or BACKOFF_FIRST)
        until = self._clock.time() + self._pull_backoff

        def back_off() -> None:
            if self._clock.time() >= until:
                self.begin()
                return
            self._event(event_messages.PULL_BACKOFF, image=image)
            self._event(event_messages.FAILED, error="ImagePullBackOff")
            text = event_messages.PULL_WAITING.format(image=image, error=self._pull_error)
            self._wait("ImagePullBackOff", text)
            self._later(max(0.5, until - self._clock.time()), self.begin)

        self._later(min(SYNC, self._pull_backoff) - 0.5, back_off)

    @abstractmethod
    def _create(self) -> None:
        """Goes on when the image is there."""
