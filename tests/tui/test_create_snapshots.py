"""Snapshots of the create form. `pytest --snapshot-update` updates them; look at each
that changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.field_changes import AdmissionChange
from servedeck.serving.spec.issues import error
from servedeck.serving.status.diagnosis import PodHealth
from servedeck.serving.status.status import Status
from styles.themes import ANSI, LIGHT
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, wait_for_text
from tests.tui.test_snapshots import MEDIUM, SMALL, Compare, size_id
from tui.app import ServedeckApp

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
STEP_2 = ("llama-chat", ["ctrl+n"])
STEP_3 = ("llama-chat", ["ctrl+n"], MODEL, ["ctrl+n"])
ENV = "A=1\nexport HF_TOKEN=hf_abcdefghijkl\nnot a variable\n"


def type_into_form(*parts: str | list[str], then: tuple[str, ...]) -> Callable[[Pilot[Any]], Any]:
    """Open the form in team-a and type texts, press lists of keys, paste what has line breaks."""

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "NAME")
        assert isinstance(pilot.app, ServedeckApp)
        pilot.app.servings.set_namespace("team-a")
        await pilot.press("n")
        await wait_for_text(pilot, "Service Name")
        for part in parts:
            if isinstance(part, str) and "\n" in part:
                assert pilot.app.screen.focused is not None
                pilot.app.screen.focused.post_message(events.Paste(part))
                await pilot.pause()
            else:
                await pilot.press(*part)
                await pilot.pause()
        await wait_for_text(pilot, *then)

    return run


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        (("Llama_8B", ["enter"]), "lowercase"),
        (STEP_2, "3 of 24 free"),
        ((*STEP_2, MODEL, ["pagedown", "pagedown", "pagedown", "enter"], ENV), "Line 3:"),
        (STEP_3, "The API server accepts it"),
        ((*STEP_3, ["y"]), "kind: Deployment"),
    ],
    ids=["1-basic", "2-detailed", "2-environment", "3-review", "3-yaml"],
)
def test_steps(
    snap_compare: Compare,
    change_service: FakeChangeService,
    size: tuple[int, int],
    parts: tuple[str | list[str], ...],
    seen: str,
) -> None:
    app = make_app(change_service=change_service)
    assert snap_compare(app, terminal_size=size, run_before=type_into_form(*parts, then=(seen,)))


@pytest.mark.parametrize("theme", [LIGHT.name, ANSI.name])
def test_the_fields_in_other_themes(
    snap_compare: Compare, change_service: FakeChangeService, theme: str
) -> None:
    app = make_app(change_service=change_service, theme=theme)
    run = type_into_form(*STEP_2, ["enter"], then=("The model is missing",))
    assert snap_compare(app, terminal_size=SMALL, run_before=run)


def test_the_review_without_color(
    snap_compare: Compare, change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = type_into_form(*STEP_3, ["down", "down", "down"], then=("The API server accepts it",))
    assert snap_compare(
        make_app(change_service=change_service), terminal_size=SMALL, run_before=run
    )


@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        ((*STEP_2, MODEL, ["pagedown", "enter"]), "used by train-0"),
        ((*STEP_2, ["up"] * 3, ["space"]), "no node has it"),
        (("llama", ["escape"]), "Close the form?"),
        ((*STEP_2, MODEL, ["ctrl+y"]), "Save the serving"),
    ],
    ids=["volumes", "accelerators", "leave", "save"],
)
def test_dialogs_and_pickers(
    snap_compare: Compare,
    change_service: FakeChangeService,
    monkeypatch: pytest.MonkeyPatch,
    parts: tuple[str | list[str], ...],
    seen: str,
) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home/operator"))
    if "no node has it" in seen and change_service.inventory.nodes:
        del change_service.inventory.nodes[-1]
    run = type_into_form(*parts, then=(seen,))
    assert snap_compare(
        make_app(change_service=change_service), terminal_size=SMALL, run_before=run
    )


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_a_review_with_every_kind_of_entry(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    change_service.dry_run_issues = [
        error("name", "Service team-a/llama-chat exists already, made by kubectl; choose another."),
        error("replicas", 'pods "llama-chat" is forbidden: exceeded quota: gpus, limited to 4.'),
    ]
    change_service.admission_changes = (
        AdmissionChange(
            ".spec.template.spec.containers[istio-proxy]", "", '{"image": "proxyv2:1.29"}'
        ),
        AdmissionChange(".spec.replicas", "1", "2"),
    )
    run = type_into_form(*STEP_3, ["down"], then=("exceeded quota",))
    assert snap_compare(make_app(change_service=change_service), terminal_size=size, run_before=run)


def test_an_unfinished_deploy(snap_compare: Compare, change_service: FakeChangeService) -> None:
    change_service.rejections = {
        "Service": "Connection refused by https://10.20.0.1:6443; is the cluster up?"
    }
    run = type_into_form(*STEP_3, ["ctrl+s"], then=("continues where it stopped", "Not deployed"))
    assert snap_compare(
        make_app(change_service=change_service), terminal_size=SMALL, run_before=run
    )


@pytest.mark.parametrize("fails", [False, True], ids=["pulling", "unschedulable"])
@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_progress_under_the_list(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int], fails: bool
) -> None:
    pod = fakes.pod(
        "llama-chat-7c9d-x2x1q",
        status="Pending",
        ready="0/1",
        is_ready=False,
        node="" if fails else "gpu-node-1",
        health=PodHealth.PENDING if fails else PodHealth.STARTING,
        reason="Unschedulable" if fails else "",
        message="0/6 nodes are available: 6 Insufficient nvidia.com/gpu." if fails else "",
        containers=(fakes.container(state="Waiting", ready=False),),
    )
    view = fakes.serving(
        "llama-chat",
        status=Status.PENDING,
        ready=0,
        desired=1,
        message=pod.message,
        pods=(pod,),
        created=fakes.ago(seconds=4),
    )
    app = make_app(
        fakes.FakeSource().add_views(*fakes.fleet(), view), change_service=change_service
    )

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "llama-chat")
        app.servings.follow_progress(NamespacedName("team-a", "llama-chat"))
        await wait_for_text(pilot, "✓ requested")

    assert snap_compare(app, terminal_size=size, run_before=run)
