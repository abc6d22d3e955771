"""The tab Overview: cards, Pods at full size, values, secrets, and the page of a Pod."""

from __future__ import annotations

import gc
import json
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import FrameType, ModuleType
from typing import Any

import pytest

from servedeck.cluster.watch.decode import RecordDecoder
from servedeck.fleet.views import NamespacedName
from servedeck.serving.objects.records import Deployment
from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline import TimelineKind
from tests.detail.objects import deployment, node, pod
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_serving_page import FIRST_POD, SECOND_POD, open_page
from tui.panes import overview
from tui.panes.overview import OverviewPane
from tui.screens.pod import PodScreen
from tui.screens.serving import ServingScreen
from tui.screens.value import ValueScreen
from tui.timeline_entries import timeline_entries
from widgets.card_lines import card_lines
from widgets.pod_rows import MAX_CARD_PODS

LLAMA = NamespacedName("team-a", "llama-70b-chat")
SECRET_ENV = [
    {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
    {"name": "API_TOKEN", "value": "abc-def"},
]
HF_TOKEN = ("env", "HF_TOKEN=hf/token")
API_TOKEN = ("env", "API_TOKEN")
"""Keys of their rows."""


def service(**container: Any) -> FakeDetailService:
    return FakeDetailService(
        deployment(**container), pod(FIRST_POD), pod(SECOND_POD), node("gpu-node-1")
    )


def pane(app) -> OverviewPane:
    assert isinstance(app.screen.active_pane, OverviewPane)
    return app.screen.active_pane


async def select(pilot, app, key) -> None:
    await wait_for(pilot, lambda: key in pane(app).cards.item_keys, f"the row {key}")
    pane(app).cards.select(key)
    await pilot.pause()


async def test_the_cards_are_complete_before_anything_is_read():
    sent = json.dumps(deployment(image="known/image:v1")).encode()
    source = fakes.FakeSource().add_views(*fakes.fleet())
    source.fleet.deployments[LLAMA] = RecordDecoder(Deployment).decode(sent).record
    detail_service = FakeDetailService(deployment(image="read/image:v2"))
    detail_service.is_loading = True
    app = make_app(source, detail_service=detail_service)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "known/image:v1", "Inference Port 8000")
        assert not pane(app).is_loading
        # The selector is known too.
        assert detail_service.open_watches == ["deployments.apps", "replicasets.apps"]
        detail_service.is_loading = False
        detail_service.notify()
        await wait_for_text(pilot, "read/image:v2")
        await pilot.press("escape")
        source.fleet.deployments.clear()
        detail_service.is_loading = True
        await pilot.press("enter")
        await wait_for(pilot, lambda: pane(app).is_loading, "the page again")
        assert "image:v" not in screen_text(app)


async def test_every_card_is_there_and_scrolls_at_80x24():
    app = make_app(detail_service=service())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "Status", "Ready Replicas", "0/2, 2 failing")
        lines = ["".join(text for text, _ in line) for line in pane(app).cards.lines]
        titles = [
            line.removesuffix("[ Edit ]").strip()
            for line in lines
            if line.startswith(" ") and line[1:2].strip()
        ]
        assert titles == [
            "Status",
            "Pods",
            "Basic Information",
            "Container",
            "Resources",
            "Command & Arguments",
            "Environment Variables",
            "Volumes",
            "Transformer",
        ]
        await pilot.press("G")
        await wait_for_text(pilot, "Transformer", "No transformer.")
        await pilot.press("g")
        await wait_for_text(pilot, "Ready Replicas")


async def test_cards_are_side_by_side_from_120_columns():
    app = make_app(detail_service=service())
    async with app.run_test(size=(120, 50)) as pilot:
        await open_page(pilot, app, "j")
        screen = await wait_for_text(pilot, "Basic Information", "No transformer.")
        assert any(
            "Basic Information" in line and line.strip() != "Basic Information"
            for line in screen.splitlines()
        )
        await select(pilot, app, ("basic", "name"))
        await pilot.press("right")
        assert pane(app).cards.cursor_key != ("basic", "name")
        await pilot.press("left")
        assert pane(app).cards.cursor_key == ("basic", "name")


async def test_the_settings_follow_the_watch_and_stay_after_a_deletion():
    detail = service()
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=detail)
    async with app.run_test(size=(120, 50)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "80Gi", "Chat of the help desk")
        changed = deployment(resources={"limits": {"memory": "96Gi"}})
        detail.put(changed)
        await wait_for_text(pilot, "96Gi")
        detail.remove(changed["metadata"]["uid"])
        source.remove_view(LLAMA)
        await wait_for_text(pilot, "deleted at", "96Gi", FIRST_POD)


async def test_a_hidden_overview_watches_nothing():
    detail = service()
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for(pilot, lambda: "deployments.apps" in detail.open_watches, "the watch")
        await pilot.press("3")
        await wait_for(pilot, lambda: not detail.open_watches, "the watch to end")
        await pilot.press("1")
        await wait_for(pilot, lambda: "deployments.apps" in detail.open_watches, "the watch")
        await pilot.press("escape")
        await wait_for(pilot, lambda: not detail.open_watches, "the watch to end with the page")


async def test_a_passing_second_builds_only_what_shows_an_age(monkeypatch):
    built: list[str] = []

    def count_card_lines(card, *args, **options):
        built.append(card.key)
        return card_lines(card, *args, **options)

    detail = service(env=SECRET_ENV)
    app = make_app(detail_service=detail)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        await select(pilot, app, API_TOKEN)
        monkeypatch.setattr("tui.panes.overview.card_lines", count_card_lines)
        monkeypatch.setattr("tui.panes.cards_pane.card_lines", count_card_lines)
        pane(app).update_ages()
        assert "status" in built
        assert "env" not in built
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "abc-def")
        detail.put(deployment(env=[{"name": "LOG_LEVEL", "value": "debug"}, *SECRET_ENV]))
        await wait_for(pilot, lambda: ("env", "LOG_LEVEL") in pane(app).cards.item_keys, "a row")


async def test_of_many_pods_a_change_costs_only_where_it_is_shown(monkeypatch):
    """Of 2,000 Pods forty may change each second, eight are shown, and all make the timeline."""
    updates: list[str] = []

    def count_timeline(*args):
        updates.append("timeline")
        return timeline_entries(*args)

    def count_update(self, view):
        updates.append("cards")
        update_cards(self, view)

    update_cards = OverviewPane._show_cards
    monkeypatch.setattr(overview, "timeline_entries", count_timeline)
    monkeypatch.setattr(overview, "TIMELINE_SECONDS", 600.0)
    monkeypatch.setattr(OverviewPane, "update_ages", lambda _self: None)
    pods = [fakes.pod(f"llama-70b-chat-6b8f-{number:02}") for number in range(MAX_CARD_PODS + 2)]
    view = fakes.serving("llama-70b-chat", pods=tuple(pods))
    source = fakes.FakeSource().add_views(view)
    app = make_app(source, detail_service=service())
    async with app.run_test(size=(120, 50)) as pilot:
        await open_page(pilot, app)
        await wait_for_text(pilot, "2 more Pods", "80Gi")
        await wait_for(pilot, lambda: not pane(app).is_loading, "the settings")
        monkeypatch.setattr(OverviewPane, "_show_cards", count_update)
        updates.clear()

        pods[-1] = replace(pods[-1], restarts=31)
        view = replace(view, restarts=31, pods=tuple(pods))
        source.add_views(view)
        assert updates == []
        pods[0] = replace(pods[0], restarts=32)
        view = replace(view, restarts=63, pods=tuple(pods))
        source.add_views(view)
        assert updates == ["cards"]
        source.add_views(replace(view, status=Status.DEGRADED, ready=1))
        assert updates == ["cards", "timeline", "cards"]
        await wait_for_text(pilot, "Degraded", " 32 ")
        await pilot.press("p")
        assert [row.key for row in pane(app).table.rows] == [pod.uid for pod in pods]
        pods[-1] = replace(pods[-1], restarts=33)
        source.add_views(replace(view, pods=tuple(pods)))
        await pilot.press("G")
        await wait_for_text(pilot, " 33 ")


async def test_the_timeline_that_had_to_wait_follows_with_the_ages(monkeypatch):
    monkeypatch.setattr(overview, "TIMELINE_SECONDS", 0.0)
    view = fakes.serving("llama-70b-chat")
    source = fakes.FakeSource().add_views(view)
    app = make_app(source, detail_service=service())
    async with app.run_test(size=(120, 50)) as pilot:
        await open_page(pilot, app)
        await wait_for(pilot, lambda: not pane(app).is_loading, "the settings")
        pane(app)._timeline_due_at = monotonic() + 600
        restarted = fakes.container(restarts=1, started_at=fakes.ago(minutes=1))
        first = replace(view.pods[0], restarts=1, containers=(restarted,))
        source.add_views(replace(view, restarts=1, pods=(first, *view.pods[1:])))
        before = pane(app)._timeline
        assert not any(entry.kind is TimelineKind.RESTART for entry in before)
        pane(app)._timeline_due_at = 0.0
        pane(app).update_ages()
        assert any(entry.kind is TimelineKind.RESTART for entry in pane(app)._timeline)


async def test_a_shown_value_stays_with_its_variable_when_the_list_changes():
    detail = service(env=SECRET_ENV)
    detail.secrets["team-a", "hf", "token"] = "hf_the_value"
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app, "j")
        for key in (HF_TOKEN, API_TOKEN):
            await select(pilot, app, key)
            await pilot.press("ctrl+g")
        await wait_for_text(pilot, "hf_the_value", "abc-def")
        other = {"name": "OTHER_TOKEN", "value": "ghi-jkl"}
        other_ref = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}
        detail.put(deployment(env=[other_ref, other, SECRET_ENV[1]]))
        await wait_for_text(pilot, "OTHER_TOKEN", "abc-def", "Secret x, key y")
        assert "hf_the_value" not in screen_text(app) and "ghi-jkl" not in screen_text(app)
        repeated = [
            {"name": "API_TOKEN", "value": "xyz-1"},
            {"name": "API_TOKEN", "value": "xyz-2"},
        ]
        detail.put(deployment(env=repeated))
        await wait_for(pilot, lambda: ("env", "API_TOKEN=1") in pane(app).cards.item_keys, "both")
        assert "xyz-2" not in screen_text(app)


async def test_a_missing_permission_is_named_and_the_rest_works():
    detail = service()
    sentence = "Cannot watch deployments.apps in namespace team-a: needs list and watch."
    detail.missing_permissions["deployments.apps"] = sentence
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, sentence, FIRST_POD, "vllm/vllm-openai:v0.11.0")
        await select(pilot, app, ("status", "permission"))
        await pilot.press("enter")
        await wait_for(pilot, lambda: isinstance(app.screen, ValueScreen), "the whole value")


async def test_a_secret_is_read_when_it_is_shown_and_forgotten_on_leaving():
    detail = service(env=SECRET_ENV)
    detail.secrets["team-a", "hf", "token"] = "hf_the_value"
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "HF_TOKEN", "Secret hf, key token")
        assert "hf_the_value" not in screen_text(app) and "abc-def" not in screen_text(app)
        assert not detail.secret_reads
        await select(pilot, app, HF_TOKEN)
        await pilot.press("enter")
        await wait_for_text(pilot, "The value is masked; ctrl+g shows it.")
        await pilot.press("escape", "ctrl+g")
        await wait_for_text(pilot, "hf_the_value")
        assert detail.secret_reads == [("team-a", "hf", "token")]
        await pilot.press("ctrl+g")
        await wait_for(pilot, lambda: "hf_the_value" not in screen_text(app), "the mask")
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "hf_the_value")
        await pilot.press("3", "1")
        await wait_for_text(pilot, "HF_TOKEN")
        assert "hf_the_value" not in screen_text(app)
        await select(pilot, app, API_TOKEN)
        await pilot.press("C")
        await wait_for_text(pilot, "There is no value under the cursor.")
        await pilot.press("enter")
        await wait_for_text(pilot, "The value is masked; ctrl+g shows it.")
        assert "abc-def" not in screen_text(app)
        await pilot.press("escape", "ctrl+g")
        await wait_for_text(pilot, "abc-def")


def texts_in_memory(root: object, needle: str, skip: object) -> list[str]:
    """What holds a text with `needle`, of all that can be reached from `root` but not through
    `skip`, modules or frames."""
    seen, stack, found = {id(root), id(skip)}, [root], []
    while stack:
        one = stack.pop()
        for inner in gc.get_referents(one):
            if isinstance(inner, str) and needle in inner:
                found.append(f"{type(one).__name__}: {str(one)[:80]}")
            elif id(inner) not in seen and not isinstance(inner, (ModuleType, FrameType)):
                seen.add(id(inner))
                stack.append(inner)
    return found


@pytest.mark.parametrize("leave", [("3",), ("escape",), ("p", "escape", "escape"), ("p", "3")])
async def test_a_value_that_was_shown_is_in_no_memory_after_leaving(leave: tuple[str, ...]):
    detail = service(env=SECRET_ENV)
    detail.secrets["team-a", "hf", "token"] = value = "hf_the_" + "value"
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app, "j")
        await select(pilot, app, HF_TOKEN)
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, value)
        assert texts_in_memory(app, value, detail)
        await pilot.press(*leave)
        await wait_for(
            pilot,
            lambda: not texts_in_memory(app, value, detail),
            "no memory of the value",
        )


async def test_a_secret_that_cannot_be_read_says_why():
    app = make_app(detail_service=service(env=SECRET_ENV))
    async with app.run_test(size=(120, 60)) as pilot:
        await open_page(pilot, app, "j")
        await select(pilot, app, HF_TOKEN)
        await pilot.press("ctrl+g")
        await wait_for_text(pilot, "Namespace team-a has no Secret hf.")


async def test_a_long_value_is_cut_and_shown_whole():
    long = " ".join(f"--flag-{number} value" for number in range(60))
    app = make_app(detail_service=service(args=long.split()))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        await select(pilot, app, ("command", "args"))
        await wait_for_text(pilot, "Arguments", "…")
        assert "--flag-59" not in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "Arguments", "--flag-59")
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")


async def test_the_pods_at_full_size_and_back():
    many = tuple(fakes.pod(f"chat-7d9c-{number:05}") for number in range(2000))
    source = fakes.FakeSource().add_views(fakes.serving("chat", pods=many))
    app = make_app(source)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app)
        await wait_for_text(pilot, "chat-7d9c-00000", "1,992 more Pods; p shows all")
        await pilot.press("p")
        await wait_for_text(pilot, "chat-7d9c-00030")
        await pilot.press("G")
        await wait_for_text(pilot, "chat-7d9c-01999")
        await pilot.press("l")
        await wait_for_text(pilot, "chat-7d9c-01999", "1 of 2,000 Pods")
        await pilot.press("1", "p")
        await wait_for_text(pilot, "Ready Replicas")


async def test_wide_terminals_have_more_columns():
    full = fakes.pod(
        "chat-1",
        ip="10.0.3.17",
        qos_class="Guaranteed",
        accelerators="4 NVIDIA GPU",
        last_termination="OOMKilled (137)",
        revision="14",
    )
    source = fakes.FakeSource().add_views(fakes.serving("chat", pods=(full,)))
    app = make_app(source)
    async with app.run_test(size=(200, 40)) as pilot:
        await open_page(pilot, app)
        await wait_for_text(pilot, "LAST TERMINATION", "10.0.3.17", "4 NVIDIA GPU", "Guaranteed")
        await pilot.resize_terminal(80, 24)
        await wait_for(pilot, lambda: "10.0.3.17" not in screen_text(app), "fewer columns")


# -- the page of a Pod ------------------------------------------------------------------------


async def open_pod(pilot, app) -> None:
    await open_page(pilot, app, "j")
    await select(pilot, app, ("pod", f"uid-{FIRST_POD}"))
    await pilot.press("enter")
    await wait_for(pilot, lambda: isinstance(app.screen, PodScreen), "the Pod")


async def test_enter_on_a_pod_shows_its_history_containers_and_node():
    detail = service()
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_pod(pilot, app)
        await wait_for_text(
            pilot,
            f"Pod team-a/{FIRST_POD}",
            "History",
            "scheduled to node gpu-node-1",
            "7 restarts until now",
            "next start of inference-server in 3m",
            "Container inference-server",
            "MemoryPressure",
        )
        assert sorted(detail.open_watches) == ["events", "nodes", "pods"]
        await pilot.press("escape")
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        await wait_for(
            pilot,
            lambda: sorted(detail.open_watches) == ["deployments.apps", "replicasets.apps"],
            "the watches to end",
        )


async def test_the_page_of_a_pod_follows_its_watch_and_keeps_a_deleted_pod():
    detail = service()
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=detail)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_pod(pilot, app)
        changed = pod(FIRST_POD)
        changed["status"]["podIP"] = "10.9.9.9"
        detail.put(changed)
        await wait_for_text(pilot, "10.9.9.9")
        detail.put_events(
            {
                "type": "Warning",
                "reason": "Evicted",
                "message": "The node was low on resource: memory.",
                "involvedObject": {"uid": f"uid-{FIRST_POD}", "namespace": "team-a"},
                "lastTimestamp": "2026-11-23T02:59:30Z",
            }
        )
        await wait_for_text(pilot, "Evicted: The node was low on resource: memory.")
        view = source.fleet.view(LLAMA)
        detail.remove(f"uid-{FIRST_POD}")
        source.add_views(replace(view, pods=view.pods[1:]))
        await wait_for_text(pilot, "deleted at", "10.9.9.9")


async def test_missing_permissions_of_a_pod_are_named():
    detail = service()
    detail.missing_permissions |= {
        "nodes": "Cannot list nodes: needs list and watch on nodes.",
        "events": "Cannot list events in namespace team-a: needs list and watch on events.",
    }
    app = make_app(detail_service=detail)
    async with app.run_test(size=(120, 60)) as pilot:
        await open_pod(pilot, app)
        await wait_for_text(pilot, *detail.missing_permissions.values(), "History")


async def test_the_log_of_the_container_under_the_cursor():
    app = make_app(detail_service=service())
    async with app.run_test(size=(120, 60)) as pilot:
        await open_pod(pilot, app)
        await pilot.press("l")
        await wait_for_text(pilot, FIRST_POD, "1 of 2 Pods", "inference-server")


async def test_it_fits_any_terminal():
    app = make_app(detail_service=service(env=SECRET_ENV))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        for size in ((60, 20), (20, 10), (10, 3), (300, 80), (80, 24)):
            await pilot.resize_terminal(*size)
        await wait_for_text(pilot, "Ready Replicas")
        await select(pilot, app, ("pod", f"uid-{FIRST_POD}"))
        await pilot.press("enter")
        for size in ((60, 20), (20, 10), (10, 3), (300, 80), (80, 24)):
            await pilot.resize_terminal(*size)
        await wait_for_text(pilot, "History")


async def test_esc_leaves_the_pods_at_full_size_before_it_closes_the_page():
    app = make_app(detail_service=service())
    async with app.run_test(size=(120, 40)) as pilot:
        await open_page(pilot, app, "j")
        await pilot.press("p")
        await wait_for(pilot, lambda: pane(app).table.display, "the table")
        await pilot.press("escape")
        await wait_for_text(pilot, "Basic Information")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")


async def test_missing_permissions_are_legible_in_a_narrow_terminal():
    detail = service()
    detail.missing_permissions |= {
        "nodes": "Cannot list nodes: needs list and watch on nodes.",
        "events": "Cannot list events in namespace team-a: needs list and watch on events.",
        "replicasets.apps": "Cannot list replicasets.apps in namespace team-a: needs list and watch"
        " on replicasets.apps.",
    }
    app = make_app(detail_service=detail)
    async with app.run_test(size=(60, 80)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "needs list and watch on replicasets.apps.")
        await select(pilot, app, ("pod", f"uid-{FIRST_POD}"))
        await pilot.press("enter")
        await wait_for_text(pilot, "list and watch on nodes.", "list and watch on events.")


def find_button(app) -> tuple[int, int]:
    """Column and line of the button Edit."""
    lines = screen_text(app).splitlines()
    y = next(at for at, line in enumerate(lines) if "[ Edit ]" in line)
    return lines[y].index("[ Edit ]"), y


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_a_click_on_the_button_at_the_top_right_edits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: tuple[int, int]
) -> None:
    edited: list[str] = []
    monkeypatch.setattr(ServingScreen, "do_edit", lambda screen: edited.append(screen.key.name))
    app = make_app(detail_service=service(), change_service=FakeChangeService(tmp_path))
    async with app.run_test(size=size) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "[ Edit ]", "Created")
        x, y = find_button(app)
        assert x + len("[ Edit ]") >= size[0] - 2, "at the right edge"
        await pilot.click(offset=(x - 3, y))
        await pilot.click(offset=(x, y + 1))
        await pilot.pause()
        assert edited == []
        await pilot.click(offset=(x + 2, y))
        await wait_for(pilot, lambda: edited == [LLAMA.name], "the edit")


async def test_the_button_scrolls_away_with_its_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    edited: list[str] = []
    monkeypatch.setattr(ServingScreen, "do_edit", lambda screen: edited.append(screen.key.name))
    app = make_app(detail_service=service(), change_service=FakeChangeService(tmp_path))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "[ Edit ]", "Created")
        x, y = find_button(app)
        await pilot.press("end")
        await wait_for(pilot, lambda: "[ Edit ]" not in screen_text(app), "the end of the cards")
        await pilot.click(offset=(x + 2, y))
        await pilot.pause()
        assert edited == []


async def test_what_cannot_be_edited_has_no_button() -> None:
    app = make_app(detail_service=service(), readonly=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_page(pilot, app, "j")
        await wait_for_text(pilot, "Created")
        assert "[ Edit ]" not in screen_text(app)
