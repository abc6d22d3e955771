"""A serving whose Events a test sets, and how to write an Event."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService

NAMESPACE, NAME = "team-a", "llama-70b-chat"
DEPLOYMENT_UID = f"uid-{NAMESPACE}/{NAME}"
REPLICASET = f"{NAME}-6b8f"
FIRST_POD = f"{REPLICASET}-9qk2x"

_METADATA = {"namespace": NAMESPACE}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {**_METADATA, "name": NAME, "uid": DEPLOYMENT_UID},
    "spec": {
        "selector": {"matchLabels": {"app": NAME}},
        "template": {
            "spec": {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}
        },
    },
}


def replicaset(name: str = REPLICASET, owner_uid: str = DEPLOYMENT_UID) -> dict[str, Any]:
    owner = {"kind": "Deployment", "name": NAME, "uid": owner_uid, "controller": True}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            **_METADATA,
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"app": NAME},
            "ownerReferences": [owner],
        },
    }


def api_time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def event(
    uid: str,
    reason: str,
    message: str = "",
    *,
    kind: str = "Pod",
    name: str = FIRST_POD,
    object_uid: str = "",
    type: str = "Warning",
    count: int = 1,
    first: datetime | None = None,
    last: datetime | None = None,
    component: str = "kubelet",
) -> dict[str, Any]:
    """An Event in the kubelet's format, by default now and about the first Pod."""
    last = last or fakes.NOW
    return {
        "metadata": {**_METADATA, "name": uid, "uid": uid},
        "involvedObject": {
            **_METADATA,
            "kind": kind,
            "name": name,
            "uid": object_uid or f"uid-{name}",
        },
        "type": type,
        "reason": reason,
        "message": message or f"{reason} happened",
        "count": count,
        "firstTimestamp": api_time(first or last),
        "lastTimestamp": api_time(last),
        "source": {"component": component},
    }


EVENTS = (
    event(
        "1",
        "ScalingReplicaSet",
        f"Scaled up replica set {REPLICASET} from 0 to 2",
        kind="Deployment",
        name=NAME,
        object_uid=DEPLOYMENT_UID,
        type="Normal",
        last=fakes.ago(hours=5),
        component="deployment-controller",
    ),
    event(
        "2",
        "Killing",
        "Stopping container inference-server",
        name=f"{REPLICASET}-zzzzz",
        type="Normal",
        last=fakes.ago(minutes=50),
    ),
    event(
        "3",
        "FailedBinding",
        "no persistent volumes available for this claim and no storage class is set",
        kind="PersistentVolumeClaim",
        name="models",
        count=4,
        first=fakes.ago(minutes=20),
        last=fakes.ago(minutes=6),
        component="persistentvolume-controller",
    ),
    event(
        "4",
        "BackOff",
        f"Back-off restarting failed container inference-server in pod {FIRST_POD}_team-a(7f3a)",
        count=23,
        first=fakes.ago(minutes=5),
        last=fakes.ago(seconds=40),
    ),
    event("5", "Unhealthy", "another serving", name=f"{NAME}-v2-6b8f-9qk2x"),
)


def make_service() -> FakeDetailService:
    """The serving's objects and Events, and one Event of another serving."""
    service = FakeDetailService(DEPLOYMENT, replicaset())
    service.put_events(*EVENTS)
    return service
