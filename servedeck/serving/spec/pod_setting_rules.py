"""Rules for the settings of a serving's Pods (`pod_settings`), its shared memory and its model
cache, without the cluster. Each yields the errors and warnings of one field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from servedeck.serving.conventions import SHARED_MEMORY_PATH
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.mount_paths import normalize_path
from servedeck.serving.spec.names import (
    validate_label,
    validate_label_key,
    validate_label_value,
    validate_subdomain,
)
from servedeck.serving.spec.pod_settings import (
    EFFECTS,
    PROBE_TIMES,
    Toleration,
    is_probe_time,
    probe_times,
    read_resource_claim,
    read_toleration,
)
from servedeck.serving.spec.templates.base import SpecLike
from servedeck.serving.spec.types import Quantity

MAX_GROUP = 2**31 - 1
"""kubernetes apimachinery validation.go, IsValidGroupID."""
MAX_PROBE_TIME = 2**31 - 1
"""kubernetes core/v1, Probe: each is an int32."""
MAX_MEMORY_BYTES = 2**60
MIN_SHARED_MEMORY_BYTES = 2**20
_RESERVED_PATHS = ("/", "/dev", "/proc", "/sys", "/etc", "/usr", "/bin", "/lib")
_MIG_PATTERN = re.compile(r"nvidia\.com/mig-(?:\d+c\.)?\d+g\.\d+gb(?:[.+-][a-z]+)*", re.ASCII)
"""The resource of a MIG profile under the strategy "mixed", such as 1g.10gb, 1c.3g.40gb or
1g.10gb.me (NVIDIA MIG user guide, "MIG Device Names"; k8s-device-plugin, ResourceManager)."""


def validate_shared_memory(spec: SpecLike) -> Iterable[Issue]:
    size = spec.shared_memory
    if size is None:
        return
    if size.value.denominator == 1 and size.value < MIN_SHARED_MEMORY_BYTES:
        yield error(
            "shared_memory",
            f"{size} of shared memory is less than a server can use; enter a value such as 2Gi, or "
            "leave it empty.",
        )
    else:
        yield from validate_memory_size("shared_memory", size)


def validate_memory_size(path: str, amount: Quantity) -> Iterator[Issue]:
    """The API server rounds a part of a byte up, which would then differ from the spec for ever."""
    if amount.value.denominator != 1:
        yield error(path, f"{amount} is not a whole number of bytes; round it.")
    elif amount.value > MAX_MEMORY_BYTES:
        yield error(path, f"{amount} is more memory than any node has; enter less.")


def validate_model_cache_path(spec: SpecLike) -> Iterable[Issue]:
    field, written = "model_cache_path", spec.model_cache_path
    if not written:
        return
    path = normalize_path(written)
    if not written.startswith("/"):
        yield error(field, f"{written!r} is not absolute; start it with /.")
    elif ":" in written or ".." in written.split("/") or not written.isprintable():
        yield error(field, "A mount path must not contain ':', '..' or control characters.")
    elif path in _RESERVED_PATHS:
        yield error(field, f"{path} is a system directory of the container; choose another path.")
    elif path == SHARED_MEMORY_PATH:
        yield error(field, f"{path} is the path of the shared memory; choose another path.")


def validate_fs_group(spec: SpecLike) -> Iterable[Issue]:
    if spec.fs_group is not None and not 0 <= spec.fs_group <= MAX_GROUP:
        yield error(
            "fs_group",
            f"A group is a number from 0 to {MAX_GROUP}; enter that of the image's user.",
        )


def validate_runtime_class(spec: SpecLike) -> Iterable[Issue]:
    if spec.runtime_class and (
        message := validate_subdomain(spec.runtime_class, "The runtime class")
    ):
        yield error("runtime_class", message)


def validate_service_account(spec: SpecLike) -> Iterable[Issue]:
    if spec.service_account and (
        message := validate_subdomain(spec.service_account, "The service account")
    ):
        yield error("service_account", message)


def validate_pull_secrets(spec: SpecLike) -> Iterable[Issue]:
    field = "image_pull_secrets"
    for name in spec.image_pull_secrets:
        if message := validate_subdomain(name, f"The Secret {name!r}"):
            yield error(field, message)
            return
    yield from _validate_unique(field, spec.image_pull_secrets)


def validate_node_selector(spec: SpecLike) -> Iterable[Issue]:
    field = "node_selector"
    for word in spec.node_selector:
        key, equals, value = word.partition("=")
        if not equals:
            yield error(field, f"{word!r} has no value; write key=value, as in a node's labels.")
            return
        if message := validate_label_key(key) or validate_label_value(value):
            yield error(field, message)
            return
    yield from _validate_unique(field, [one.partition("=")[0] for one in spec.node_selector])


def validate_tolerations(spec: SpecLike) -> Iterable[Issue]:
    field = "tolerations"
    for word in spec.tolerations:
        if message := _toleration_problem(word, read_toleration(word)):
            yield error(field, message)
            return
    yield from _validate_unique(field, spec.tolerations)


def _toleration_problem(word: str, one: Toleration | None) -> str:
    """What is wrong with a toleration, in a sentence; "" for nothing (kubernetes core
    validation.go, ValidateTolerations)."""
    if one is None:
        return (
            f"{word!r} is no toleration; write key=value:Effect, key:Effect or :Effect, and "
            "key:NoExecute:300s for five minutes."
        )
    if one.effect and one.effect not in EFFECTS:
        return f"{one.effect!r} is no effect of a taint; write {', '.join(EFFECTS)} or none."
    if one.seconds is not None and one.effect != "NoExecute":
        return f"Seconds belong to the effect NoExecute alone; write {one.key}:NoExecute:300s."
    if not one.key:
        if one.value is None:
            return ""
        return f"{word!r} has a value without a key; write key=value:Effect."
    return validate_label_key(one.key) or validate_label_value(one.value or "")


def validate_resource_claims(spec: SpecLike) -> Iterable[Issue]:
    field = "resource_claims"
    for word in spec.resource_claims:
        claim = read_resource_claim(word)
        if claim is None:
            yield error(
                field,
                f"{word!r} is no resource claim; write name=template/TEMPLATE for one of each Pod, "
                "or name=claim/CLAIM for one that all share.",
            )
            return
        kind = "ResourceClaimTemplate" if claim.kind == "template" else "ResourceClaim"
        if message := validate_label(
            claim.name, "The claim's name in the Pod"
        ) or validate_subdomain(claim.source, f"The {kind}"):
            yield error(field, message)
            return
    yield from _validate_unique(field, [one.partition("=")[0] for one in spec.resource_claims])


def validate_readiness_times(spec: SpecLike) -> Iterable[Issue]:
    has_probe = bool(spec.effective_readiness_path)
    return _validate_times("readiness_times", spec.readiness_times, "Readiness", has_probe)


def validate_liveness_times(spec: SpecLike) -> Iterable[Issue]:
    has_probe = bool(spec.effective_liveness_path)
    return _validate_times("liveness_times", spec.liveness_times, "Liveness", has_probe)


def _validate_times(
    field: str, words: Sequence[str], probe: str, has_probe: bool
) -> Iterator[Issue]:
    if not words:
        return
    wrong = next((one for one in words if not is_probe_time(one)), "")
    names = [one.partition("=")[0] for one in words]
    if wrong:
        choices = ", ".join(f"{one}=…" for one in PROBE_TIMES)
        yield error(field, f"{wrong!r} is no time of a probe; write {choices} in seconds.")
    elif len(set(names)) < len(names):
        yield from _validate_unique(field, names)
    elif zero := next(
        (one for one, value in probe_times(field, words).items() if one != "delay" and not value),
        "",
    ):
        yield error(field, f"{zero} must be at least 1; enter a value such as {zero}=5.")
    elif long := next(
        (one for one, value in probe_times(field, words).items() if value > MAX_PROBE_TIME), ""
    ):
        yield error(field, f"Kubernetes allows at most {MAX_PROBE_TIME} for {long}; enter less.")
    elif not has_probe:
        yield warning(
            field,
            f"No {probe.lower()} probe is known that these are for; enter a {probe} Endpoint, or "
            "clear this.",
        )


def validate_mig_profile(spec: SpecLike) -> Iterable[Issue]:
    """A MIG resource that no device plugin offers."""
    key = spec.accelerator
    if key.startswith("nvidia.com/mig-") and not _MIG_PATTERN.fullmatch(key):
        yield warning(
            "accelerator",
            f"{key.removeprefix('nvidia.com/mig-')!r} is no MIG profile; write one as nvidia-smi "
            "lists it, such as nvidia.com/mig-1g.10gb.",
        )


def _validate_unique(field: str, names: Sequence[str]) -> Iterator[Issue]:
    twice = next((one for at, one in enumerate(names) if one in names[:at]), None)
    if twice is not None:
        yield error(field, f"{twice} is there twice; remove one of them.")
