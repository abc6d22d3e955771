"""PersistentVolumeClaims of a project: what the form shows of them, and whether a serving can use
them as it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from servedeck.serving.capacity import RequestingPod
from servedeck.serving.objects.records import Meta, Record
from servedeck.serving.spec.issues import Problem, error, warning
from servedeck.serving.spec.spec import ServingSpec

_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


class ClaimResources(Record, frozen=True):
    requests: dict[str, str | int | float] = {}


class ClaimSpec(Record, frozen=True):
    access_modes: tuple[str, ...] = ()
    resources: ClaimResources = ClaimResources()
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"


class ClaimStatus(Record, frozen=True):
    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: dict[str, str | int | float] = {}


class PersistentVolumeClaim(Record, frozen=True):
    """core/v1 PersistentVolumeClaim."""

    metadata: Meta = Meta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


@dataclass(frozen=True, slots=True)
class Claim:
    name: str
    size: str
    """"50Gi": what it has, or asks for while it is not bound."""
    modes: tuple[str, ...]
    """As the API names them: "ReadWriteOnce"."""
    phase: str
    """Bound, Pending or Lost."""
    storage_class: str
    block: bool
    """A raw device, which cannot be mounted at a path."""
    used_by: tuple[str, ...]
    """Pods that mount it, by name."""

    @property
    def short_modes(self) -> str:
        """As kubectl writes them: "RWO,ROX"."""
        return ",".join(_SHORT.get(mode, mode) for mode in self.modes)


def claims(records: Iterable[PersistentVolumeClaim], pods: Iterable[RequestingPod]) -> list[Claim]:
    """Claims of one namespace by name, with the Pods of it that use them."""
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
            Claim(
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


def problems(spec: ServingSpec, known: Mapping[str, Claim]) -> list[Problem]:
    """What is wrong with the claims that a serving mounts; `known` are those of its project."""
    found: list[Problem] = []
    for at, volume in enumerate(spec.volumes):
        path = f"volumes.{at}.claim"
        claim = known.get(volume.claim)
        if claim is None:
            found.append(
                error(
                    path,
                    f"Namespace {spec.project} has no PVC {volume.claim!r}; "
                    "choose another, or create it first.",
                )
            )
            continue
        if claim.block:
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
                    "unless its storage class binds it for the first Pod.",
                )
            )
        found += _mode_problems(spec, at, claim)
    return found


def _mode_problems(spec: ServingSpec, at: int, claim: Claim) -> list[Problem]:
    path = f"volumes.{at}.claim"
    modes = set(claim.modes)
    if modes == {"ReadOnlyMany"} and not spec.volumes[at].read_only:
        return [
            error(
                f"volumes.{at}.read_only",
                f"PVC {claim.name} can only be read (ReadOnlyMany); set Read-only.",
            )
        ]
    if modes == {"ReadWriteOncePod"}:
        if spec.replicas > 1:
            return [
                error(
                    path,
                    f"PVC {claim.name} is ReadWriteOncePod and {spec.replicas} replicas "
                    "would share it; choose a ReadWriteMany one or set Replicas to 1.",
                )
            ]
        if others := [pod for pod in claim.used_by if not pod.startswith(f"{spec.name}-")]:
            return [
                error(
                    path,
                    f"PVC {claim.name} is ReadWriteOncePod and Pod {others[0]} has it; "
                    "choose another.",
                )
            ]
    elif modes and modes <= {"ReadWriteOnce", "ReadWriteOncePod"} and spec.replicas > 1:
        return [
            warning(
                path,
                f"PVC {claim.name} is ReadWriteOnce: all {spec.replicas} replicas must run on one "
                "node, others stay Pending; choose a ReadWriteMany or ReadOnlyMany one.",
            )
        ]
    return []
