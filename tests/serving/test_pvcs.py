from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving import pvcs
from servedeck.serving.pod_requests import PodRequests
from servedeck.serving.pvcs import PersistentVolumeClaim, Pvc
from tests.serving.spec.test_validation import vllm_spec


def make_pvc(name: str = "data", *modes: str, phase: str = "Bound", **changes: Any) -> Pvc:
    values = {"is_block_device": False, "used_by": (), **changes}
    return Pvc(name, "50Gi", modes or ("ReadWriteMany",), phase, "fast", **values)


def issue_texts(known: list[Pvc], *, replicas: int = 1, read_only: bool = False) -> list[str]:
    volume = {"pvc": "data", "mount_path": "/data", "read_only": read_only}
    spec = vllm_spec(replicas=replicas, volumes=[volume])
    got = pvcs.validate_pvcs(spec, {one.name: one for one in known})
    return [f"{one.severity} {one.field} {one.message}" for one in got]


def test_claims_as_the_form_shows_them() -> None:
    records = msgspec.convert(
        [
            {
                "metadata": {"name": "b", "namespace": "n"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                    "storageClassName": "fast",
                },
                "status": {"phase": "Pending"},
            },
            {
                "metadata": {"name": "a", "namespace": "n"},
                "spec": {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"},
                "status": {
                    "phase": "Bound",
                    "accessModes": ["ReadWriteMany", "ReadOnlyMany"],
                    "capacity": {"storage": "2Gi"},
                },
            },
        ],
        list[PersistentVolumeClaim],
    )
    pods = msgspec.convert(
        [
            {
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "a"}}, {}]},
                "status": {"phase": phase},
            }
            for name, namespace, phase in (
                ("y", "n", "Running"),
                ("x", "n", "Pending"),
                ("ended", "n", "Failed"),
                ("other", "m", "Running"),
            )
        ],
        list[PodRequests],
    )
    a, b = pvcs.pvcs(records, pods)
    assert (a.name, a.size, a.short_access_modes, a.phase, a.used_by) == (
        "a",
        "2Gi",
        "RWX,ROX",
        "Bound",
        ("x", "y"),
    )
    assert a.is_block_device
    assert (b.size, b.short_access_modes, b.storage_class, b.used_by) == ("1Gi", "RWO", "fast", ())


def test_a_good_claim_has_no_problem() -> None:
    assert issue_texts([make_pvc()], replicas=3) == []
    assert issue_texts([make_pvc("data", "ReadWriteOnce")]) == []
    assert issue_texts([make_pvc("data", "ReadWriteOnce", "ReadWriteMany")], replicas=3) == []
    assert issue_texts([make_pvc("data", "ReadOnlyMany")], replicas=3, read_only=True) == []


@pytest.mark.parametrize(
    ("known", "replicas", "words"),
    [
        ([], 1, "error volumes.0.pvc Namespace team-a has no PVC 'data'"),
        ([make_pvc(phase="Pending")], 1, "warning volumes.0.pvc PVC data is not bound"),
        ([make_pvc(phase="Lost")], 1, "error volumes.0.pvc PVC data has lost"),
        ([make_pvc(is_block_device=True)], 1, "error volumes.0.pvc PVC data is a raw block"),
        (
            [make_pvc("data", "ReadOnlyMany")],
            1,
            "error volumes.0.read_only PVC data can only be read",
        ),
        (
            [make_pvc("data", "ReadWriteOnce")],
            2,
            "warning volumes.0.pvc PVC data is ReadWriteOnce: all 2 replicas",
        ),
        (
            [make_pvc("data", "ReadWriteOncePod")],
            2,
            "error volumes.0.pvc PVC data is ReadWriteOncePod and 2 replicas",
        ),
        (
            [make_pvc("data", "ReadWriteOncePod", used_by=("other-1",))],
            1,
            "error volumes.0.pvc PVC data is ReadWriteOncePod and in use by Pod other-1",
        ),
    ],
)
def test_a_pvc_that_cannot_be_used_as_requested(
    known: list[Pvc], replicas: int, words: str
) -> None:
    (problem,) = issue_texts(known, replicas=replicas)
    assert problem.startswith(words)
    assert problem.endswith(".")


def test_the_serving_s_own_pod_does_not_block_the_pvc() -> None:
    assert issue_texts([make_pvc("data", "ReadWriteOncePod", used_by=("llm-7d-x",))]) == []
