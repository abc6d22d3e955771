"""Snapshots of every screen and state. `pytest --snapshot-update` updates them; look at
each that changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.serving.endpoint import Endpoint
from styles.themes import ANSI, LIGHT
from tests.tui import events, fakes, test_rollouts, timeline
from tests.tui.fakes import FakePhase
from tests.tui.helpers import make_app, wait_for_text
from tests.tui.test_yaml_pane import make_service

SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (200, 60)
Compare = Callable[..., bool]

STALE = fakes.FakeState(
    FakePhase.RETRYING,
    "Connection refused by https://10.20.0.1:6443; is the cluster up? If so, check the server's"
    " address in the kubeconfig.",
    last_update_at=fakes.ago(seconds=72),
    stale_for=72.0,
)


def size_id(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def make_source(**options: Any) -> fakes.FakeSource:
    return fakes.FakeSource(**options).add_views(*fakes.fleet())


def wait_for_texts(*texts: str) -> Callable[[Pilot[Any]], Any]:
    """Wait for texts before the picture is taken."""

    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, *texts)

    return run


def press_keys(*keys: str, then: tuple[str, ...] = ()) -> Callable[[Pilot[Any]], Any]:
    async def run(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "NAME")
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await wait_for_text(pilot, *then)

    return run


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE, (20, 10)], ids=size_id)
def test_the_list(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=wait_for_texts("Err"))


def test_the_list_on_a_light_background(snap_compare: Compare) -> None:
    assert snap_compare(
        make_app(theme=LIGHT.name), terminal_size=MEDIUM, run_before=wait_for_texts("OOMKilled")
    )


@pytest.mark.parametrize("keys", [(), ("j", "space")], ids=["list", "status"])
def test_in_16_colors(snap_compare: Compare, keys: tuple[str, ...]) -> None:
    assert snap_compare(
        make_app(theme=ANSI.name),
        terminal_size=SMALL,
        run_before=press_keys(*keys, then=("Error",)),
    )


@pytest.mark.parametrize("keys", [(), ("j", "space")], ids=["list", "status"])
def test_without_color(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(
        make_app(), terminal_size=SMALL, run_before=press_keys(*keys, then=("Error",))
    )


def test_all_columns(snap_compare: Compare) -> None:
    run = press_keys("w", *["right"] * 6, then=("MODEL",))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_status_of_a_crashing_serving(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press_keys("j", "space", then=("2 failing",))
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


def test_the_status_of_a_pending_serving(snap_compare: Compare) -> None:
    run = press_keys("j", "j", "j", "space", then=("1 failing",))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
@pytest.mark.parametrize(
    ("key", "then"), [("space", "→ U lets"), ("enter", "Recovery")], ids=["status", "page"]
)
def test_a_blocked_rollout(
    snap_compare: Compare, size: tuple[int, int], key: str, then: str
) -> None:
    source = fakes.FakeSource().add_views(fakes.blocked_rollout())
    run = press_keys(key, then=(then,))
    assert snap_compare(make_app(source), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_connect_overlay(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press_keys("c", then=("Connect to",))
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


def test_the_connect_overlay_without_a_route(snap_compare: Compare) -> None:
    endpoint = Endpoint(
        issue="No HTTPRoute, VirtualService or Ingress leads to the serving.",
        cluster_url="http://llama-8b.team-a.svc:80",
        service_name="llama-8b",
        port=80,
        port_forward_command="kubectl port-forward -n team-a service/llama-8b 8080:80",
    )
    app = make_app(fakes.FakeSource().add_views(fakes.serving("llama-8b", endpoint=endpoint)))
    assert snap_compare(
        app, terminal_size=SMALL, run_before=press_keys("c", then=("No HTTPRoute",))
    )


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE, (20, 10)], ids=size_id)
def test_the_page_of_a_crashing_serving(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press_keys("j", "enter", then=("llama-70b", "Status"))
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_log(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press_keys("j", "l", "p", then=("pid 412", "paused"))
    assert snap_compare(make_app(), terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_rollouts(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = make_app(test_rollouts.make_source(), detail_service=test_rollouts.make_service())
    run = press_keys("enter", test_rollouts.TAB, "G", "space", then=("being rolled out", "* 1"))
    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM], ids=size_id)
def test_the_difference_between_revisions(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = make_app(test_rollouts.make_source(), detail_service=test_rollouts.make_service())
    run = press_keys("enter", test_rollouts.TAB, "enter", then=("From revision 2 to revision 3",))
    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_yaml(snap_compare: Compare, size: tuple[int, int]) -> None:
    run = press_keys("j", "y", "slash", *"name", "enter", "n", then=("2 of",))
    app = make_app(detail_service=make_service())
    assert snap_compare(app, terminal_size=size, run_before=run)


def test_the_yaml_in_16_colors(snap_compare: Compare) -> None:
    run = press_keys("j", "y", "G", then=("envFrom",))
    app = make_app(theme=ANSI.name, detail_service=make_service())
    assert snap_compare(app, terminal_size=SMALL, run_before=run)


def test_the_objects_of_a_serving(snap_compare: Compare) -> None:
    run = press_keys("j", "y", "o", then=("ReplicaSet/",))
    app = make_app(detail_service=make_service())
    assert snap_compare(app, terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_events(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = make_app(detail_service=events.make_service())
    run = press_keys("j", "enter", "6", then=("following", "BackOff"))
    assert snap_compare(app, terminal_size=size, run_before=run)


@pytest.mark.parametrize("theme", [ANSI.name, "no-color"])
def test_filtered_events_in_few_colors(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    if theme == "no-color":
        monkeypatch.setenv("NO_COLOR", "1")
    options = {"theme": theme} if theme == ANSI.name else {}
    app = make_app(detail_service=events.make_service(), **options)
    run = press_keys("j", "enter", "6", "W", "k", "slash", *"pvc", then=("1 of 4 Events",))
    assert snap_compare(app, terminal_size=SMALL, run_before=run)


def test_one_event(snap_compare: Compare) -> None:
    app = make_app(detail_service=events.make_service())
    run = press_keys("j", "enter", "6", "enter", then=("Event BackOff",))
    assert snap_compare(app, terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_the_timeline(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def open_timeline(pilot: Pilot[Any]) -> None:
        await wait_for_text(pilot, "NAME")
        timeline.replay_changes(app)
        await press_keys("j", "enter", "t", then=("60s before", "OOMKilled"))(pilot)

    app = timeline.make_timeline_app()
    assert snap_compare(app, terminal_size=size, run_before=open_timeline)


def test_a_log_that_waits(snap_compare: Compare) -> None:
    run = press_keys("j", "j", "j", "l", then=("waiting",))
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=run)


@pytest.mark.parametrize(
    ("keys", "seen"),
    [
        (("question_mark",), "Serving list"),
        (("colon",), "DESCRIPTION"),
        (("ctrl+k",), "staging"),
        (("slash", *"qwen"), "1 of 11"),
        (("slash", *"status:broken"), "No status begins"),
        (("slash", *"zzz"), "None of 11"),
    ],
    ids=["help", "commands", "contexts", "filter", "filter-problem", "filter-nothing"],
)
def test_dialogs_and_pickers(snap_compare: Compare, keys: tuple[str, ...], seen: str) -> None:
    assert snap_compare(make_app(), terminal_size=SMALL, run_before=press_keys(*keys, then=(seen,)))


@pytest.mark.parametrize(
    ("state", "filled", "seen"),
    [
        (fakes.FakeState(FakePhase.CONNECTING), False, "Connecting"),
        (
            fakes.FakeState(FakePhase.LISTING, loaded=500, remaining=4500),
            False,
            "Loading servings",
        ),
        (fakes.FakeState(), False, "No servings"),
        (
            fakes.FakeState(
                FakePhase.FORBIDDEN,
                "Cannot list deployments.apps in all namespaces, nor in default; choose another"
                " namespace, or ask for permission to list and watch them.",
            ),
            False,
            "forbidden",
        ),
        (
            fakes.FakeState(missing_permissions=("list events", "list httproutes")),
            True,
            "Not allowed",
        ),
        (STALE, True, "stale"),
        (
            fakes.FakeState(FakePhase.RETRYING, STALE.message),
            False,
            "Connection refused",
        ),
    ],
    ids=["connecting", "loading", "empty", "forbidden", "partly", "disconnected", "unreachable"],
)
@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=size_id)
def test_states(
    snap_compare: Compare,
    state: fakes.FakeState,
    filled: bool,
    seen: str,
    size: tuple[int, int],
) -> None:
    app = make_app(make_source(state=state) if filled else fakes.FakeSource(state=state))
    assert snap_compare(app, terminal_size=size, run_before=wait_for_texts(seen))
