"""Stored pictures of the create form. `pytest --snapshot-update` takes them anew; look at each
that changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from servedeck.fleet.views import Key
from servedeck.serving.objects.diff import Difference
from servedeck.serving.spec.issues import error
from servedeck.serving.status.diagnosis import Health
from servedeck.serving.status.status import Status
from styles.themes import ANSI, LIGHT
from tests.tui import fakes
from tests.tui.bench import FakeBench
from tests.tui.helpers import make_app, shows
from tests.tui.test_pictures import MIDDLE, SMALL, Compare, named
from tui.app import ServedeckApp

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
STEP_2 = ("llama-chat", ["ctrl+n"])
STEP_3 = ("llama-chat", ["ctrl+n"], MODEL, ["ctrl+n"])
ENV = "A=1\nexport HF_TOKEN=hf_abcdefghijkl\nnot a variable\n"


@pytest.fixture
def bench(tmp_path: Path) -> FakeBench:
    return FakeBench(tmp_path / "drafts")


def typed(*parts: str | list[str], then: tuple[str, ...]) -> Callable[[Pilot[Any]], Any]:
    """Open the form in team-a and type texts, press lists of keys, paste what has line breaks."""

    async def run(pilot: Pilot[Any]) -> None:
        await shows(pilot, "NAME")
        assert isinstance(pilot.app, ServedeckApp)
        pilot.app.servings.set_namespace("team-a")
        await pilot.press("n")
        await shows(pilot, "Service Name")
        for part in parts:
            if isinstance(part, str) and "\n" in part:
                assert pilot.app.screen.focused is not None
                pilot.app.screen.focused.post_message(events.Paste(part))
                await pilot.pause()
            else:
                await pilot.press(*part)
                await pilot.pause()
        await shows(pilot, *then)

    return run


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=named)
@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        (("Llama_8B", ["enter"]), "lower-case"),
        (STEP_2, "3 of 24 free"),
        ((*STEP_2, MODEL, ["pagedown", "pagedown", "pagedown", "enter"], ENV), "Line 3:"),
        (STEP_3, "The API server accepts it"),
        ((*STEP_3, ["y"]), "kind: Deployment"),
    ],
    ids=["1-basic", "2-detailed", "2-environment", "3-review", "3-yaml"],
)
def test_steps(
    snap_compare: Compare,
    bench: FakeBench,
    size: tuple[int, int],
    parts: tuple[str | list[str], ...],
    seen: str,
) -> None:
    app = make_app(workbench=bench)
    assert snap_compare(app, terminal_size=size, run_before=typed(*parts, then=(seen,)))


@pytest.mark.parametrize("theme", [LIGHT.name, ANSI.name])
def test_the_fields_in_other_themes(snap_compare: Compare, bench: FakeBench, theme: str) -> None:
    app = make_app(workbench=bench, theme=theme)
    run = typed(*STEP_2, ["enter"], then=("The model is missing",))
    assert snap_compare(app, terminal_size=SMALL, run_before=run)


def test_the_review_without_colour(
    snap_compare: Compare, bench: FakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = typed(*STEP_3, ["down", "down", "down"], then=("The API server accepts it",))
    assert snap_compare(make_app(workbench=bench), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        ((*STEP_2, MODEL, ["pagedown", "enter"]), "used by train-0"),
        ((*STEP_2, ["up"] * 3, ["space"]), "no node has it"),
        (("llama", ["escape"]), "Leave the form?"),
        ((*STEP_2, MODEL, ["ctrl+y"]), "Save the serving"),
    ],
    ids=["volumes", "accelerators", "leave", "save"],
)
def test_asking_and_choosing(
    snap_compare: Compare,
    bench: FakeBench,
    monkeypatch: pytest.MonkeyPatch,
    parts: tuple[str | list[str], ...],
    seen: str,
) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home/operator"))
    if "no node has it" in seen and bench.surroundings.nodes:
        del bench.surroundings.nodes[-1]
    run = typed(*parts, then=(seen,))
    assert snap_compare(make_app(workbench=bench), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=named)
def test_a_review_with_everything_to_say(
    snap_compare: Compare, bench: FakeBench, size: tuple[int, int]
) -> None:
    bench.found = [
        error("name", "Service team-a/llama-chat exists already, made by kubectl; choose another."),
        error("replicas", 'pods "llama-chat" is forbidden: exceeded quota: gpus, limited to 4.'),
    ]
    bench.admission = (
        Difference(".spec.template.spec.containers[istio-proxy]", "", '{"image": "proxyv2:1.29"}'),
        Difference(".spec.replicas", "1", "2"),
    )
    run = typed(*STEP_3, ["down"], then=("exceeded quota",))
    assert snap_compare(make_app(workbench=bench), terminal_size=size, run_before=run)


def test_half_a_deployment(snap_compare: Compare, bench: FakeBench) -> None:
    bench.refuse = {"Service": "Nothing listens at https://10.20.0.1:6443; is the cluster up?"}
    run = typed(*STEP_3, ["ctrl+s"], then=("goes on where it stopped", "Not deployed"))
    assert snap_compare(make_app(workbench=bench), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("fails", [False, True], ids=["pulling", "unschedulable"])
@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=named)
def test_progress_under_the_list(
    snap_compare: Compare, bench: FakeBench, size: tuple[int, int], fails: bool
) -> None:
    pod = fakes.pod(
        "llama-chat-7c9d-x2x1q",
        status="Pending",
        ready="0/1",
        is_ready=False,
        node="" if fails else "gpu-node-1",
        health=Health.PENDING if fails else Health.STARTING,
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
    app = make_app(fakes.FakeSource().put(*fakes.fleet(), view), workbench=bench)

    async def run(pilot: Pilot[Any]) -> None:
        await shows(pilot, "llama-chat")
        app.servings.creating.follow(Key("team-a", "llama-chat"))
        await shows(pilot, "✓ requested")

    assert snap_compare(app, terminal_size=size, run_before=run)
