"""PersistentVolumeClaims of a namespace: their display in the form, and whether a serving can mount
them as configured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from servedeck.serving.objects.records import ObjectMeta, Record
from servedeck.serving.pod_requests import PodRequests
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.spec import ServingSpec

_ACCESS_MODE_ABBREVIATIONS = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


class PersistentVolumeClaimResources(Record, frozen=True):
    requests: dict[str, str | int | float] = {}


class PersistentVolumeClaimSpec(Record, frozen=True):
    access_modes: tuple[str, ...] = ()
    resources: PersistentVolumeClaimResources = PersistentVolumeClaimResources()
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"


class PersistentVolumeClaimStatus(Record, frozen=True):
    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: dict[str, str | int | float] = {}


class PersistentVolumeClaim(Record, frozen=True):
    """core/v1 PersistentVolumeClaim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


@dataclass(frozen=True, slots=True)
class Pvc:
    name: str
    size: str
    """"50Gi": its capacity, or its request while it is not bound."""
    access_modes: tuple[str, ...]
    """As in the API: "ReadWriteOnce"."""
    phase: str
    """Bound, Pending or Lost."""
    storage_class: str
    is_block_device: bool
    """A block device, which cannot be mounted at a path."""
    used_by: tuple[str, ...]
    """Names of the Pods that mount it."""

    @property
    def short_access_modes(self) -> str:
        """As in kubectl: "RWO,ROX"."""
        return ",".join(_ACCESS_MODE_ABBREVIATIONS.get(mode, mode) for mode in self.access_modes)


def pvcs(records: Iterable[PersistentVolumeClaim], pods: Iterable[PodRequests]) -> list[Pvc]:
    """PVCs of one namespace by name, with the Pods that use them."""
    users: dict[tuple[str, str], list[str]] = {}
    for pod in pods:
        if pod.status.phase in ("Succeeded", "Failed"):
            continue
        for volume in pod.spec.volumes:
            if source := volume.persistent_volume_claim:
                key = (pod.metadata.namespace, source.claim_name)
                users.setdefault(key, []).append(pod.metadata.name)
    return sorted(
        (
            Pvc(
                one.metadata.name,
                str(
                    one.status.capacity.get("storage")
                    or one.spec.resources.requests.get("storage", "")
                ),
                one.status.access_modes or one.spec.access_modes,
                one.status.phase,
                one.spec.storage_class_name,
                one.spec.volume_mode == "Block",
                tuple(sorted(users.get((one.metadata.namespace, one.metadata.name), ()))),
            )
            for one in records
        ),
        key=lambda claim: claim.name,
    )


def validate_pvcs(spec: ServingSpec, available: Mapping[str, Pvc]) -> list[Issue]:
    """Issues with the PVCs that a serving mounts; `known` are those of its namespace."""
    found: list[Issue] = []
    for at, volume in enumerate(spec.volumes):
        path = f"volumes.{at}.pvc"
        claim = available.get(volume.pvc)
        if claim is None:
            found.append(
                error(
                    path,
                    f"Namespace {spec.namespace} has no PVC {volume.pvc!r}; "
                    "choose another, or create it first.",
                )
            )
            continue
        if claim.is_block_device:
            found.append(
                error(
                    path, f"PVC {claim.name} is a raw block device; choose one with a filesystem."
                )
            )
        if claim.phase == "Lost":
            found.append(
                error(path, f"PVC {claim.name} has lost its volume; restore it or choose another.")
            )
        elif claim.phase == "Pending":
            found.append(
                warning(
                    path,
                    f"PVC {claim.name} is not bound yet; Pods wait until it is, "
                    "unless its StorageClass has the binding mode WaitForFirstConsumer.",
                )
            )
        found += _validate_access_modes(spec, at, claim)
    return found


def _validate_access_modes(spec: ServingSpec, at: int, pvc: Pvc) -> list[Issue]:
    path = f"volumes.{at}.pvc"
    modes = set(pvc.access_modes)
    if modes == {"ReadOnlyMany"} and not spec.volumes[at].read_only:
        return [
            error(
                f"volumes.{at}.read_only",
                f"PVC {pvc.name} can only be read (ReadOnlyMany); set Read-only.",
            )
        ]
    if modes == {"ReadWriteOncePod"}:
        if spec.replicas > 1:
            return [
                error(
                    path,
                    f"PVC {pvc.name} is ReadWriteOncePod and {spec.replicas} replicas "
                    "would share it; choose a ReadWriteMany one or set Replicas to 1.",
                )
            ]
        if others := [pod for pod in pvc.used_by if not pod.startswith(f"{spec.name}-")]:
            return [
                error(
                    path,
                    f"PVC {pvc.name} is ReadWriteOncePod and in use by Pod {others[0]}; choose "
                    f"another.",
                )
            ]
    elif modes and modes <= {"ReadWriteOnce", "ReadWriteOncePod"} and spec.replicas > 1:
        return [
            warning(
                path,
                f"PVC {pvc.name} is ReadWriteOnce: all {spec.replicas} replicas must run on one "
                "node, others stay Pending; choose a ReadWriteMany or ReadOnlyMany one.",
            )
        ]
    return []
