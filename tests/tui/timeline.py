"""A serving whose changes a test replays."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.status.status import Status
from tests.tui import fakes
from tests.tui.events import DEPLOYMENT, NAME, NAMESPACE, api_time, replicaset
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app
from tui.app import ServedeckApp

KEY = NamespacedName(NAMESPACE, NAME)
_REVISION = "deployment.kubernetes.io/revision"


def _rollout(name: str, revision: str, image: str, created: datetime) -> dict[str, Any]:
    value = replicaset(name)
    value["metadata"] |= {
        "creationTimestamp": api_time(created),
        "annotations": {_REVISION: revision},
    }
    value["spec"] = {"template": {"spec": {"containers": [{"name": "server", "image": image}]}}}
    return value


def make_detail_service() -> FakeDetailService:
    """A Deployment in its third revision."""
    metadata = {
        **DEPLOYMENT["metadata"],
        "creationTimestamp": api_time(fakes.ago(days=1)),
        "annotations": {_REVISION: "3"},
    }
    condition = {
        "type": "Available",
        "status": "False",
        "lastTransitionTime": api_time(fakes.ago(minutes=11)),
    }
    return FakeDetailService(
        {**DEPLOYMENT, "metadata": metadata, "status": {"conditions": [condition]}},
        _rollout(f"{NAME}-1111", "1", "vllm/vllm-openai:v0.10.2", fakes.ago(days=1)),
        _rollout(f"{NAME}-2222", "2", "vllm/vllm-openai:v0.11.0", fakes.ago(hours=5)),
        _rollout(f"{NAME}-6b8f", "3", "vllm/vllm-openai:v0.11.1", fakes.ago(minutes=13)),
    )


def make_timeline_app() -> ServedeckApp:
    """The app on servings in all states."""
    return make_app(
        fakes.FakeSource().add_views(*fakes.fleet()), detail_service=make_detail_service()
    )


def replay_changes(app: ServedeckApp) -> None:
    """Forty minutes of the serving: ready, rolled out, failing, and restarting three times."""
    source = app.source
    assert isinstance(source, fakes.FakeSource)
    clock = app.clock

    def show(time: datetime, view: ServingView) -> ServingView:
        app.clock = lambda: time  # type: ignore[method-assign]
        source.add_views(view)
        return view

    failing = source.fleet.by_key[KEY]
    view = show(
        fakes.ago(minutes=40),
        replace(
            failing,
            status=Status.READY,
            reason="",
            ready=2,
            revision="2",
            image="vllm/vllm-openai:v0.11.0",
        ),
    )
    rolled_out = replace(view, revision="3", image="vllm/vllm-openai:v0.11.1")
    view = show(fakes.ago(minutes=12, seconds=59), rolled_out)
    view = show(
        fakes.ago(minutes=12),
        replace(failing, revision=view.revision, image=view.image),
    )
    for minutes in (10, 7, 4):
        pod = view.pods[0]
        server = replace(
            pod.containers[0],
            restarts=pod.restarts + 1,
            finished_at=fakes.ago(minutes=minutes),
            finish_reason="OOMKilled",
        )
        pod = replace(pod, restarts=server.restarts, containers=(server,))
        view = show(
            fakes.ago(minutes=minutes),
            replace(view, pods=(pod, *view.pods[1:]), restarts=view.restarts + 1),
        )
    app.clock = clock  # type: ignore[method-assign]
