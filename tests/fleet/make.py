"""Views and records for the tests of the fleet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from servedeck.fleet.view import Key, PodView, ServingView
from servedeck.serving.endpoint import Endpoint
from servedeck.serving.failure import Health
from servedeck.serving.status import Status

START = datetime(2026, 1, 1, tzinfo=UTC)


def pod_view(name: str = "pod", **fields: Any) -> PodView:
    return PodView(
        **{
            "name": name,
            "namespace": "team-a",
            "uid": f"uid-{name}",
            "status": "Running",
            "ready": "1/1",
            "is_ready": True,
            "restarts": 0,
            "restarted_at": None,
            "node": "",
            "created": START,
            "health": Health.OK,
            "reason": "",
            "message": "",
            "container": "",
            "old_revision": False,
            "containers": (),
            "events": (),
        }
        | fields
    )


def serving_view(path: str = "team-a/llama", **fields: Any) -> ServingView:
    namespace, name = path.split("/")
    return ServingView(
        **{
            "key": Key(namespace, name),
            "uid": f"uid-{path}",
            "status": Status.READY,
            "reason": "",
            "message": "",
            "failing": 0,
            "rollout": "",
            "ready": 1,
            "desired": 1,
            "template": "",
            "model": "",
            "accelerator": "",
            "accelerator_resource": "",
            "accelerator_count": 0,
            "restarts": 0,
            "endpoint": Endpoint(),
            "scaler": "",
            "image": "",
            "created": START,
            "labels": {},
            "description": "",
            "managed": True,
            "pods": (),
            "events": (),
        }
        | fields
    )
