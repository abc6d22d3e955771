from __future__ import annotations

from typing import Any

import msgspec
import pytest

from servedeck.serving import pvcs
from servedeck.serving.capacity import RequestingPod
from servedeck.serving.pvcs import Claim, PersistentVolumeClaim
from tests.serving.spec.test_validation import vllm


def claim(name: str = "data", *modes: str, phase: str = "Bound", **changes: Any) -> Claim:
    values = {"block": False, "used_by": (), **changes}
    return Claim(name, "50Gi", modes or ("ReadWriteMany",), phase, "fast", **values)


def found(known: list[Claim], *, replicas: int = 1, read_only: bool = False) -> list[str]:
    volume = {"claim": "data", "mount_path": "/data", "read_only": read_only}
    spec = vllm(replicas=replicas, volumes=[volume])
    got = pvcs.problems(spec, {one.name: one for one in known})
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
        list[RequestingPod],
    )
    a, b = pvcs.claims(records, pods)
    assert (a.name, a.size, a.short_modes, a.phase, a.used_by) == (
        "a",
        "2Gi",
        "RWX,ROX",
        "Bound",
        ("x", "y"),
    )
    assert a.block
    assert (b.size, b.short_modes, b.storage_class, b.used_by) == ("1Gi", "RWO", "fast", ())


def test_a_good_claim_has_no_problem() -> None:
    assert found([claim()], replicas=3) == []
    assert found([claim("data", "ReadWriteOnce")]) == []
    assert found([claim("data", "ReadWriteOnce", "ReadWriteMany")], replicas=3) == []
    assert found([claim("data", "ReadOnlyMany")], replicas=3, read_only=True) == []


@pytest.mark.parametrize(
    ("known", "replicas", "words"),
    [
        ([], 1, "error volumes.0.claim Namespace team-a has no PVC 'data'"),
        ([claim(phase="Pending")], 1, "warning volumes.0.claim PVC data is not bound"),
        ([claim(phase="Lost")], 1, "error volumes.0.claim PVC data has lost"),
        ([claim(block=True)], 1, "error volumes.0.claim PVC data is a raw block"),
        ([claim("data", "ReadOnlyMany")], 1, "error volumes.0.read_only PVC data can only be read"),
        (
            [claim("data", "ReadWriteOnce")],
            2,
            "warning volumes.0.claim PVC data is ReadWriteOnce: all 2 replicas",
        ),
        (
            [claim("data", "ReadWriteOncePod")],
            2,
            "error volumes.0.claim PVC data is ReadWriteOncePod and 2 replicas",
        ),
        (
            [claim("data", "ReadWriteOncePod", used_by=("other-1",))],
            1,
            "error volumes.0.claim PVC data is ReadWriteOncePod and Pod other-1 has it",
        ),
    ],
)
def test_a_claim_that_cannot_be_used_as_said(known: list[Claim], replicas: int, words: str) -> None:
    (problem,) = found(known, replicas=replicas)
    assert problem.startswith(words)
    assert problem.endswith(".")


def test_the_serving_s_own_pod_does_not_stand_in_its_way() -> None:
    assert found([claim("data", "ReadWriteOncePod", used_by=("llm-7d-x",))]) == []
