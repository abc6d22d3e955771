"""The images of the simulated registries, and the duration of their pulls."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from servedeck.demo import event_messages

_NAME = re.compile(
    r"(?:(?P<host>[a-zA-Z0-9.-]+(?::\d+)?)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[a-f0-9]{64}))?"
)

_REPOSITORIES = {
    "vllm/vllm-openai": (
        re.compile(r"latest|nightly|v0\.([4-9]|[12]\d|3[0-3])\.\d+"),
        9_816_312_905,
    ),
    "furiosaai/furiosa-llm": (re.compile(r"latest|v?202[56]\.\d+\.\d+"), 3_241_908_112),
    "lmsysorg/sglang": (re.compile(r"latest|v0\.\d+\.\d+.*"), 11_207_431_870),
    "library/nginx": (re.compile(r"latest|1\.\d+.*|alpine"), 72_319_283),
    "library/python": (re.compile(r"latest|3\.\d+.*"), 412_318_112),
    "library/busybox": (re.compile(r"latest|1\.\d+.*"), 2_156_519),
}
"""Repositories of Docker Hub: their tags and the bytes of an image."""
_REGISTRIES = frozenset(
    ("ghcr.io", "quay.io", "nvcr.io", "gcr.io", "registry.k8s.io", "registry.acme.example")
)
_PRIVATE_REGISTRIES = frozenset(("registry.acme.example",))
"""Registries that require a pull secret for repositories below `private/`."""
_PULL_BYTES_PER_SECOND = 320e6
"""Pulled and unpacked."""


class ResolvedImage(NamedTuple):
    """`error`: why the image cannot be pulled, or ""."""

    reference: str
    """The full name, "docker.io/vllm/vllm-openai:v0.33.0"; "" for an invalid name."""
    size: int = 0
    error: str = ""

    @property
    def pull_seconds(self) -> float:
        """Duration of a successful or failing pull."""
        return 1.4 if self.error else 0.8 + self.size / _PULL_BYTES_PER_SECOND

    @property
    def digest(self) -> str:
        name = self.reference.partition("@")[0].rpartition(":")[0]
        return f"{name}@sha256:{hashlib.sha256(self.reference.encode()).hexdigest()}"


def resolve_image(image: str, *, has_pull_secret: bool) -> ResolvedImage:
    """The image that a node would pull; `has_pull_secret`: the Pod names a pull secret."""
    match = _NAME.fullmatch(image)
    if match is None:
        return ResolvedImage("")
    host, path = match["host"] or "", match["path"]
    if host and "." not in host and ":" not in host and host != "localhost":
        host, path = "", f"{host}/{path}"
    if not host or host == "docker.io":
        host = "docker.io"
        path = path if "/" in path else f"library/{path}"
    tag = match["tag"] or "latest"
    reference = (
        f"{host}/{path}:{tag}" if match["digest"] is None else f"{host}/{path}@{match['digest']}"
    )
    error = ""
    size = 240_000_000
    if host == "docker.io":
        known = _REPOSITORIES.get(path)
        if known is None:
            error = event_messages.PULL_DENIED.format(reference=reference)
        else:
            size = known[1]
            if match["digest"] is None and known[0].fullmatch(tag) is None:
                error = event_messages.PULL_NOT_FOUND.format(reference=reference)
    elif host not in _REGISTRIES:
        error = event_messages.PULL_NO_HOST.format(
            reference=reference, registry=host, repository=path, tag=tag
        )
    elif host in _PRIVATE_REGISTRIES and path.startswith("private/") and not has_pull_secret:
        error = event_messages.PULL_UNAUTHORIZED.format(
            reference=reference, registry=f"https://{host}/token"
        )
    return ResolvedImage(reference, size, error)
