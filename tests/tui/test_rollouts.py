"""The tab Rollouts: the rollout in progress, the revisions, and the difference between two."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from servedeck.fleet.views import NamespacedName, PodView
from servedeck.serving.status.diagnosis import PodHealth
from tests.serving.revision_factory import (
    deployment,
    manager,
    progressing,
    replicaset,
    template,
)
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.panes.rollouts import RolloutsPane
from tui.screens.revision_diff import RevisionDiffScreen
from tui.screens.serving import PANES, ServingScreen
from widgets.styled_line import plain_text

KEY = NamespacedName("team-a", "llama")
TAB = str(PANES.index(RolloutsPane) + 1)
FIRST = template("vllm/vllm-openai:v0.9.0", args=["--model", "meta-llama/Llama-3.1-8B-Instruct"])
SECOND = template("vllm/vllm-openai:v0.10.0", args=["--model", "meta-llama/Llama-3.1-8B-Instruct"])
THIRD = template(
    "vllm/vllm-openai:v0.11.0",
    args=["--model", "meta-llama/Llama-3.1-8B-Instruct", "--max-model-len", "8192"],
    env=[{"name": "HF_TOKEN", "value": "hunter2"}, {"name": "VLLM_LOGGING_LEVEL", "value": "INFO"}],
)
AT = {
    "created": fakes.ago(minutes=7).isoformat(),
    "time": fakes.ago(minutes=7).isoformat(),
    "progress": fakes.ago(minutes=3).isoformat(),
}


def stuck_deployment(**changes: Any) -> dict[str, Any]:
    """The rollout of the third revision, of which one Pod exists."""
    return deployment(
        3,
        THIRD,
        status={"updatedReplicas": 1, "replicas": 3, "readyReplicas": 2, "availableReplicas": 2},
        conditions=[progressing("ReplicaSetUpdated", AT["progress"])],
        managed_fields=[manager("kubectl-set", time=AT["time"])],
        cause="v0.11 has the longer context",
        **changes,
    )


def replicasets() -> list[dict[str, Any]]:
    return [
        replicaset(3, THIRD, pods=1, ready=0, created=AT["created"]),
        replicaset(2, SECOND, pods=2, cause="new image", created=fakes.ago(days=3).isoformat()),
        replicaset(1, FIRST, created=fakes.ago(days=40).isoformat()),
    ]


def pods(**changes: Any) -> tuple[PodView, ...]:
    failing = fakes.pod(
        "llama-hash3-x2x1q",
        is_ready=False,
        ready="0/1",
        health=PodHealth.ERROR,
        reason="ImagePullBackOff",
        message="Image vllm/vllm-openai:v0.11.0 cannot be pulled: not found in the registry",
    )
    old = [fakes.pod(f"llama-hash2-{name}", old_revision=True) for name in ("b8k2m", "c9d3n")]
    return (replace(failing, **changes), *old)


def make_source() -> fakes.FakeSource:
    view = fakes.serving("llama", rollout="updating 1/2", pods=pods(), uid="uid-llama")
    return fakes.FakeSource().add_views(view, fakes.serving("other"))


def make_service(*objects: dict[str, Any]) -> FakeDetailService:
    return FakeDetailService(*(objects or (stuck_deployment(), *replicasets())))


async def open_tab(pilot: Any, app: Any) -> None:
    await wait_for_text(pilot, "llama")
    await pilot.press("enter")
    await wait_for(
        pilot,
        lambda: isinstance(app.screen, ServingScreen) and app.screen.active_pane is not None,
        "the page",
    )
    await pilot.press(TAB)
    await wait_for(pilot, lambda: isinstance(app.screen.active_pane, RolloutsPane), "the tab")


def lines_with(app: Any, text: str) -> list[str]:
    return [line for line in screen_text(app).splitlines() if text in line]


async def test_the_rollout_in_progress_and_what_holds_it_up():
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(
            pilot,
            "↻ Revision 3 is being rolled out",
            "1 of 2 updated, 0 ready, 2 available, 2 old",
            "started 7m ago, 7m until the progress deadline",
            "! New Pod llama-hash3-x2x1q: Image vllm/vllm-openai:v0.11.0 cannot be pulled: not"
            " found in the registry.",
            "RollingUpdate, maxSurge 1, maxUnavailable 0",
        )


async def test_the_revisions_and_the_one_under_the_cursor():
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(200, 60)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(
            pilot,
            "Changed by    kubectl-set (Update)  7m ago",
            "Change cause  v0.11 has the longer context",
            "Image         vllm/vllm-openai:v0.11.0",
            "Arguments     --model meta-llama/Llama-3.1-8B-Instruct --max-model-len 8192",
        )
        (third,) = lines_with(app, "3 current")
        assert third.split()[:6] == ["3", "current", "7m", "1", "1", "0"]
        assert "image, args, env" in third
        await pilot.press("j")
        await wait_for_text(
            pilot, "Revision 2  ReplicaSet llama-hash2", "Changed by    not recorded", "new image"
        )


async def test_the_key_that_rolls_back_is_in_the_footer_of_a_small_terminal():
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "R roll back", "space mark", "e edit")


async def test_the_tab_follows_the_watches():
    source, service = make_source(), make_service()
    app = make_app(source, detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "Revision 3 is being rolled out")
        view = source.fleet.view(KEY)
        source.add_views(
            replace(view, pods=pods(health=PodHealth.STARTING, reason="", message="Loading it"))
        )
        await wait_for_text(pilot, "Waiting for 1 new Pod to become ready: Loading it.")
        done = deployment(3, THIRD)
        service.put(done, replicaset(3, THIRD, pods=2), replicaset(2, SECOND))
        await wait_for_text(pilot, "✓ Revision 3 is rolled out", "2 of 2 updated, 2 ready")
        assert "Waiting" not in screen_text(app)
        fourth = template("vllm/vllm-openai:v0.12.0")
        service.put(deployment(4, fourth), replicaset(4, fourth, pods=2))
        await wait_for_text(pilot, "4 current", "Revision 4 is rolled out")
        assert app.screen.active_pane.selected_revision.number == 3, "the cursor follows its row"


async def test_a_template_that_is_not_rolled_out_is_the_newest_line():
    service = make_service(deployment(2, THIRD, paused=True), *replicasets()[1:])
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(
            pilot,
            "! The Deployment's Pod template is paused",
            "It is paused: the changed Pod template is not rolled out until it is resumed.",
        )
        (new,) = (one for one in lines_with(app, "new ") if one.split()[0] == "new")
        assert "image, args, env" in new
        await pilot.press("enter")
        await wait_for_text(
            pilot, "From revision 2 to the Deployment's Pod template of team-a/llama"
        )


async def test_enter_compares_with_the_one_before():
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        await pilot.press("enter")
        screen = await wait_for_text(
            pilot,
            "From revision 2 to revision 3 of team-a/llama",
            "spec.containers[inference-server].image",
            "- vllm/vllm-openai:v0.10.0",
            "+ vllm/vllm-openai:v0.11.0",
            "spec.containers[inference-server].args",
            "+ [2] --max-model-len",
            "+ [3] 8192",
            "spec.containers[inference-server].env[HF_TOKEN].value",
            "+ ••••••••",
            "+ INFO",
        )
        assert "hunter2" not in screen
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")


async def test_space_marks_two_revisions_and_enter_compares_them():
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        await pilot.press("space", "G", "space")
        await wait_for_text(pilot, "* 3 current", "* 1")
        await pilot.press("k", "enter")
        await wait_for_text(pilot, "From revision 1 to revision 3 of", "- vllm/vllm-openai:v0.9.0")
        await pilot.press("q")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        await pilot.press("space")  # the third mark replaces the first one
        await wait_for_text(pilot, "* 2")
        assert "* 3" not in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "From revision 1 to revision 2 of")
        await pilot.press("enter", "space")
        await wait_for(pilot, lambda: "* 2" not in screen_text(app), "the mark to be removed")
        assert "* 1" in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "From revision 1 to revision 2 of")


async def test_the_first_revision_has_none_before_it():
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        await pilot.press("G", "enter")
        await wait_for_text(pilot, "There is no revision before it.")


@pytest.mark.parametrize("keys", [("C",), ("enter", "C")], ids=["revision", "difference"])
async def test_copying(monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]):
    from tui.app import ServedeckApp

    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    sent: list[str] = []
    monkeypatch.setattr(ServedeckApp, "write_to_terminal", lambda self, text: sent.append(text))
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await wait_for_text(pilot, "opied by the terminal")
        copied = base64.b64decode(sent[0].split(";")[2].rstrip("\x07")).decode()
        if "enter" in keys:
            assert isinstance(app.screen, RevisionDiffScreen)
            assert copied.startswith("From revision 2 to revision 3 of team-a/llama\n")
            assert "  - vllm/vllm-openai:v0.10.0\n  + vllm/vllm-openai:v0.11.0" in copied
        else:
            assert copied.startswith("Revision 3  ReplicaSet llama-hash3")
        assert "hunter2" not in copied


async def test_without_permission_for_replicasets_the_deployment_stays():
    service = make_service()
    service.missing_permissions["replicasets.apps"] = "Cannot list replicasets.apps in team-a."
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(
            pilot,
            "Cannot list replicasets.apps in team-a. Earlier revisions are not shown.",
            "3 current",
            "kubectl-set (Update)",
        )
        await pilot.press("enter")
        await wait_for_text(pilot, "There is no revision before it.")


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda service: setattr(service, "is_loading", True), "Loading…"),
        (
            lambda service: service.missing_permissions.update(
                {"deployments.apps": "Cannot list deployments.apps in team-a."}
            ),
            "Cannot list deployments.apps in team-a.",
        ),
        (lambda service: service.live_objects.clear(), "The Deployment does not exist."),
    ],
)
async def test_before_there_is_anything_to_show(prepare: Any, text: str):
    service = make_service()
    prepare(service)
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, text)
        await pilot.press("enter")
        await wait_for_text(pilot, "There is no revision under the cursor.")


async def test_hidden_it_watches_nothing_and_a_deleted_serving_keeps_its_revisions():
    source, service = make_source(), make_service()
    app = make_app(source, detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        assert sorted(service.open_watches) == ["deployments.apps", "replicasets.apps"]
        assert [one.query.label_selector for one in service.watches][-2:] == ["", "app=llama"]
        await pilot.press("3")
        await wait_for(pilot, lambda: not service.open_watches, "the watches to close")
        await pilot.press(TAB)
        await wait_for_text(pilot, "3 current")
        source.remove_view(KEY)
        for one in list(service.live_objects):
            service.remove(one.metadata.uid)
        await wait_for_text(pilot, "deleted at", "3 current")
        assert "2  " in screen_text(app)
        await pilot.press("escape")
        await wait_for(pilot, lambda: not service.open_watches, "the watches to close")


async def test_another_serving_starts_anew():
    other = deployment(1, FIRST)
    other["metadata"] |= {"name": "other", "uid": "uid-other"}
    other["spec"]["selector"] = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    service = make_service(stuck_deployment(), *replicasets(), other)
    service.put(replicaset(1, FIRST, pods=2, owner="uid-other"))
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        await pilot.press("space", "right_square_bracket")
        await wait_for_text(pilot, "team-a/other", "1 current", "Revision 1 is rolled out")
        screen = screen_text(app)
        assert "3 current" not in screen
        assert "* " not in screen
        assert service.watches[-1].query.label_selector == "app"


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (300, 80), (20, 10)])
async def test_every_size(size: tuple[int, int]):
    app = make_app(make_source(), detail_service=make_service())
    async with app.run_test(size=(120, 40)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "3 current")
        await pilot.resize_terminal(*size)
        await wait_for_text(pilot, "3 curr")
        if size[0] >= 60:
            (third,) = lines_with(app, "3 current")
            image = "vllm/vllm-openai:v0.11.0" if size[0] > 140 else "v0.11.0"
            assert image in third
            assert screen_text(app).count("IMAGE") == 1
            assert "image, args" in third
            assert lines_with(app, "REVISION")
            assert "cannot be pulled" in " ".join(screen_text(app).split())


async def test_a_hundred_revisions():
    templates = [template(f"vllm/vllm-openai:v0.{number}") for number in range(1, 101)]
    sets = [replicaset(number, one) for number, one in enumerate(templates, 1)]
    service = make_service(deployment(100, templates[-1]), *sets)
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "100 current")
        await pilot.press("G", "k", "enter")
        await wait_for_text(pilot, "From revision 1 to revision 2 of")


async def test_a_command_line_of_a_megabyte_is_not_wrapped_beyond_the_pane():
    long = template("vllm/vllm-openai:v0.11.0", args=["run", "word " * 200_000])
    service = make_service(deployment(1, long), replicaset(1, long))
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "Arguments", "word word")
        assert len(app.screen.active_pane.revision_text.lines) <= 24


async def test_a_text_that_does_not_fit_says_that_there_is_more():
    long = template("vllm/vllm-openai:v0.11.0", args=[f"--flag-{number}" for number in range(99)])
    service = make_service(deployment(1, long), replicaset(1, long))
    app = make_app(make_source(), detail_service=service)
    async with app.run_test(size=(60, 20)) as pilot:
        await open_tab(pilot, app)
        await wait_for_text(pilot, "Arguments", "--flag-0 ")
        lines = app.screen.active_pane.revision_text.lines
        assert plain_text(lines[-1]).endswith("…")
        assert not any(plain_text(line).endswith("…") for line in lines[:-1])
