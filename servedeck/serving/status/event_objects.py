"""Which Events of a namespace are about the objects of one serving."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servedeck.serving.objects.records import Event
from servedeck.serving.spec.mapping.json_values import as_mapping, as_str, mappings

MAX_GENERATE_NAME_LENGTH = 58
"""Characters of generateName that the API server keeps before the random suffix (kubernetes
apiserver pkg/storage/names/generate.go, MaxGeneratedNameLength)."""

_RANDOM_SUFFIX = re.compile(r"[a-z0-9]{5}")
"""What the API server appends to generateName (randomLength in the same file)."""
_MAX_HASH_LENGTH = 10
"""Maximum length of the pod-template-hash in a ReplicaSet's name, a 32-bit number (kubernetes
pkg/controller/controller_utils.go, ComputeHash)."""


@dataclass(frozen=True, slots=True)
class EventObjects:
    """The objects of one serving, as Events name them."""

    namespace: str
    uids: frozenset[str] = frozenset()
    """uids of the Deployment, its ReplicaSets and Pods, Services, routes and autoscalers."""
    replicaset_names: frozenset[str] = frozenset()
    """Names of its ReplicaSets. Pods that do not exist anymore are recognized by them."""
    pvc_names: frozenset[str] = frozenset()
    """Names of the PVCs that its Pods mount."""
    other_servings: frozenset[str] = frozenset()
    """Names of the other servings in the namespace that have names as long as to be truncated in
    the names of their Pods: see `may_be_truncated`."""

    def includes(self, event: Event) -> bool:
        """Whether the Event is about one of the objects."""
        involved = event.involved_object
        if involved.uid and involved.uid in self.uids:
            return True
        if involved.namespace != self.namespace:
            return False
        if involved.kind == "Pod":
            return self._is_own_pod_name(involved.name)
        return involved.kind == "PersistentVolumeClaim" and involved.name in self.pvc_names

    def _is_own_pod_name(self, name: str) -> bool:
        """Whether a ReplicaSet of the serving created a Pod of this name. A Pod's generateName is
        the ReplicaSet's name and "-" (kubernetes pkg/controller/replicaset/replica_set.go); if it
        is longer than MAX_GENERATE_NAME_LENGTH, its end is missing, and so may be the hash that
        distinguishes ReplicaSets."""
        base, suffix = name[:-5], name[-5:]
        if not _RANDOM_SUFFIX.fullmatch(suffix):
            return False
        if base.endswith("-") and base[:-1] in self.replicaset_names:
            return True
        if len(base) != MAX_GENERATE_NAME_LENGTH:
            return False
        return any(
            f"{replicaset}-".startswith(base) for replicaset in self.replicaset_names
        ) and not any(
            base.startswith(f"{other}-"[:MAX_GENERATE_NAME_LENGTH]) for other in self.other_servings
        )


def may_be_truncated(serving: str) -> bool:
    """Whether the names of a serving's Pods may lack the end of its ReplicaSet's name."""
    return len(serving) + 1 + _MAX_HASH_LENGTH + 1 > MAX_GENERATE_NAME_LENGTH


def mounted_pvc_names(deployment: Mapping[str, Any], pod_names: frozenset[str]) -> frozenset[str]:
    """Names of the PVCs that the Pods of a Deployment mount: those of the template, and those that
    Kubernetes creates for the ephemeral volumes of each Pod, named after the Pod and the volume
    (kubernetes component-helpers storage/ephemeral/ephemeral.go, VolumeClaimName)."""
    names: set[str] = set()
    pod_spec = as_mapping(deployment, "spec", "template", "spec")
    for volume in mappings(pod_spec.get("volumes")):
        if claim := as_str(as_mapping(volume, "persistentVolumeClaim").get("claimName")):
            names.add(claim)
        elif as_mapping(volume, "ephemeral"):
            names |= {f"{pod}-{as_str(volume.get('name'))}" for pod in pod_names}
    return frozenset(names)
