"""The tab Events: which are shown, followed, filtered, opened and copied."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from servedeck.serving.endpoint import Endpoint
from servedeck.serving.objects.records import ObjectReference
from servedeck.serving.status.event_history import EventHistory
from tests.tui import fakes
from tests.tui.events import (
    DEPLOYMENT,
    DEPLOYMENT_UID,
    FIRST_POD,
    NAME,
    event,
    make_service,
    replicaset,
)
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_serving_page import LLAMA, open_page
from tui.panes.events import PORTION, EventsPane
from widgets.columns import Row


def lines(app: Any) -> list[str]:
    """Texts of the lines of the table."""
    return [" ".join(row_texts(row)) for row in app.screen.active_pane.table.rows]


def row_texts(row: Row) -> Iterator[str]:
    for cell in row.cells:
        if isinstance(cell, str):
            yield cell
        elif cell and isinstance(cell[0], tuple):
            yield "".join(span[0] for span in cell)


def reasons(app: Any) -> list[str]:
    return [row.cells[3][0][0] for row in app.screen.active_pane.table.rows]


@asynccontextmanager
async def open_events(
    service: FakeDetailService | None = None,
    source: fakes.FakeSource | None = None,
    size: tuple[int, int] = (120, 40),
) -> Any:
    app = make_app(source, detail_service=service or make_service())
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, NAME)
        await open_page(pilot, app, "j")
        await pilot.press("6")
        await wait_for(pilot, lambda: isinstance(app.screen.active_pane, EventsPane), "the pane")
        await pilot.pause()
        yield app, pilot


async def test_events_of_its_objects_newest_last_and_none_of_another_serving():
    async with open_events() as (app, pilot):
        screen = await wait_for_text(
            pilot,
            "4 Events  2 Warnings  ✓ following",
            "deployment",
            "pod/…6b8f-zzzzz",
            "pvc/models",
            "pod/…6b8f-9qk2x",
            "Back-off restarting failed container inference-server in pod",
        )
        assert reasons(app) == ["ScalingReplicaSet", "Killing", "FailedBinding", "BackOff"]
        assert "another serving" not in screen
        back_off = next(line for line in screen.splitlines() if "BackOff" in line)
        assert back_off.split()[:2] == ["!", "40s"]
        assert "×23" in back_off and "4m20s" in back_off and "02:59:20" in back_off
        killing = next(line for line in screen.splitlines() if "Killing" in line)
        assert killing.split()[0] == "50m"


async def test_events_of_services_routes_and_autoscalers():
    service = make_service()
    source = fakes.FakeSource().add_views(*fakes.fleet())
    source.fleet.related[LLAMA] = [
        ObjectReference("ScaledObject", "team-a", NAME, "scaler"),
        ObjectReference("HTTPRoute", "team-a", "route", "route"),
    ]
    service.put_events(
        event("a", "KEDAScalerFailed", kind="ScaledObject", name=NAME, object_uid="scaler"),
        event("b", "NotAccepted", kind="HTTPRoute", name="route", object_uid="route"),
        event("c", "NotAccepted", kind="HTTPRoute", name="other", object_uid="other"),
    )
    async with open_events(service, source) as (_, pilot):
        await wait_for_text(pilot, "6 Events", "scaledobject", "httproute/route")


async def test_what_the_api_server_dropped_stays_also_when_the_page_is_opened_again():
    service = make_service()
    async with open_events(service) as (app, pilot):
        await wait_for_text(pilot, "4 Events")
        service.events.clear()
        service.notify()
        await pilot.pause()
        assert len(lines(app)) == 4
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
        assert not service.open_watches
        await pilot.press("enter")
        await wait_for(pilot, lambda: app.screen is not app.servings, "the page")
        await pilot.press("6")
        await wait_for_text(pilot, "4 Events", "BackOff")


async def test_warnings_that_the_list_saw_are_shown():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    service = FakeDetailService()
    service.put_events(event("seen", "FailedMount"))
    source.fleet.warnings[LLAMA] = list(service.events)
    service.events.clear()
    async with open_events(service, source) as (_, pilot):
        view = source.fleet.by_key[LLAMA]
        first = replace(view.pods[0], events=view.pods[0].events[:1])
        source.add_views(replace(view, pods=(first, *view.pods[1:])))
        await wait_for_text(pilot, "1 Event  1 Warning", "FailedMount")


async def test_the_state_of_a_pod_selects_no_events_again(monkeypatch):
    """Of thousands of Pods one always changes, and each has Events."""
    source = fakes.FakeSource().add_views(*fakes.fleet())
    async with open_events(source=source) as (_, pilot):
        await wait_for_text(pilot, "4 Events")
        updates: list[object] = []
        monkeypatch.setattr(EventsPane, "_update", lambda pane: updates.append(pane))
        view = source.fleet.by_key[LLAMA]
        restarted = replace(view.pods[0], restarts=31)
        view = replace(view, restarts=31, pods=(restarted, *view.pods[1:]))
        source.add_views(view)
        assert not updates
        for changed in (
            replace(view, pods=view.pods[1:]),
            replace(view, pods=(*view.pods, fakes.pod(f"{NAME}-6b8f-aaaaa"))),
            replace(view, endpoint=Endpoint()),
        ):
            updates.clear()
            source.add_views(changed)
            assert updates


async def test_scrolling_up_pauses_and_no_line_moves_until_it_follows_again():
    service = make_service()
    async with open_events(service) as (app, pilot):
        await wait_for_text(pilot, "✓ following")
        await pilot.press("k")
        await wait_for_text(pilot, "paused, 0 new")
        before = reasons(app)
        service.put_events(
            event("6", "Unhealthy"),
            event(
                "7", "FailedBinding", EVENT_3_MESSAGE, kind="PersistentVolumeClaim", name="models"
            ),
        )
        await wait_for_text(pilot, "paused, 2 new")
        assert reasons(app) == [*before, "Unhealthy"]
        assert "×5" in lines(app)[2]
        assert app.screen.active_pane.table.cursor == 2
        await pilot.press("G")
        await wait_for_text(pilot, "✓ following")
        assert reasons(app)[-1] in ("FailedBinding", "Unhealthy")
        assert reasons(app)[:2] == ["ScalingReplicaSet", "Killing"]
        assert app.screen.active_pane.table.cursor == 4
        service.put_events(event("8", "Failed", last=fakes.ago(seconds=-1)))
        await wait_for_text(pilot, "6 Events")
        assert app.screen.active_pane.table.cursor == 5


EVENT_3_MESSAGE = "no persistent volumes available for this claim and no storage class is set"


async def test_f_pauses_and_follows():
    service = make_service()
    async with open_events(service) as (app, pilot):
        await pilot.press("f")
        await wait_for_text(pilot, "paused, 0 new")
        service.put_events(event("6", "Unhealthy"))
        await wait_for_text(pilot, "paused, 1 new")
        await pilot.press("f")
        await wait_for_text(pilot, "✓ following")
        assert app.screen.active_pane.table.cursor == 4


async def test_the_filter_and_its_errors():
    async with open_events() as (app, pilot):
        await pilot.press("slash", *"kind:pod")
        await wait_for_text(pilot, "2 of 4 Events", "enter apply  esc clear")
        assert reasons(app) == ["Killing", "BackOff"]
        await pilot.press(*" !back")
        await wait_for_text(pilot, "1 of 4 Events")
        await pilot.press("enter", "j")
        await wait_for_text(pilot, "kind:pod !back")
        await pilot.press("slash", *" nothing")
        await wait_for_text(pilot, "No Event matches the filter.", "0 of 4 Events")
        await pilot.press(*" status:x")
        await wait_for_text(pilot, "There is no field status; the fields are type, kind")
        await pilot.press("escape")
        await wait_for_text(pilot, "4 Events  2 Warnings")
        assert not app.screen.active_pane.filter_line.display
        assert app.screen.active_pane.table.has_focus


async def test_only_warnings():
    async with open_events() as (app, pilot):
        await pilot.press("W")
        await wait_for_text(pilot, "2 of 4 Events", "Warnings only")
        assert reasons(app) == ["FailedBinding", "BackOff"]
        await pilot.press("slash", *"killing")
        await wait_for_text(pilot, "No Warning matches the filter.")
        await pilot.press("escape", "W")
        await wait_for_text(pilot, "4 Events  2 Warnings  ✓ following")


async def test_enter_shows_one_event_in_full_and_follows_it():
    service = make_service()
    async with open_events(service) as (_, pilot):
        await pilot.press("enter")
        await wait_for_text(
            pilot,
            "Event BackOff",
            "! Warning",
            f"Pod team-a/{FIRST_POD}",
            "×23 over 4m20s",
            "2026-11-23 02:55:00",
            "40s ago",
            "kubelet",
            f"pod {FIRST_POD}_team-a(7f3a)",
        )
        service.put_events(
            event("4", "BackOff", service.events[3].message, count=24, first=fakes.ago(minutes=5))
        )
        await wait_for_text(pilot, "×24 over 5m")
        await pilot.press("escape")
        await wait_for_text(pilot, "4 Events")


async def test_copy():
    async with open_events() as (app, pilot):
        written: list[str] = []
        app.write_to_terminal = written.append
        await pilot.press("C")
        await wait_for_text(pilot, f"Copied by the terminal: BackOff of Pod {FIRST_POD}")
        await pilot.press("enter")
        await wait_for_text(pilot, "Event BackOff")
        await pilot.press("C")
        await wait_for(pilot, lambda: len(written) == 2, "the second copy")
        texts = [base64.b64decode(one.split(";")[2].rstrip("\x07")).decode() for one in written]
        assert texts[0] == texts[1]
        assert "Reason:   BackOff\n" in texts[0]
        assert f"Object:   Pod team-a/{FIRST_POD}\n" in texts[0]


async def test_loading_empty_and_forbidden():
    service = FakeDetailService(DEPLOYMENT, replicaset())
    service.is_loading = True
    async with open_events(service) as (_, pilot):
        await wait_for_text(pilot, "Loading…")
        service.is_loading = False
        service.notify()
        await wait_for_text(pilot, "No Events in the last hour.", "0 Events")
        await pilot.press("enter")
        await wait_for_text(pilot, "There is no Event under the cursor.")
        sentence = "Cannot list events in namespace team-a: needs list and watch on events."
        service.missing_permissions["events"] = sentence
        service.notify()
        await wait_for_text(pilot, sentence)


async def test_without_permission_for_replicasets_the_rest_is_shown():
    service = make_service()
    sentence = "Cannot list replicasets.apps in namespace team-a."
    service.missing_permissions["replicasets.apps"] = sentence
    async with open_events(service) as (_, pilot):
        await wait_for_text(pilot, "3 Events", "deleted Pods are missing", sentence, "BackOff")


async def test_a_serving_made_again_has_its_own_events():
    service = make_service()
    source = fakes.FakeSource().add_views(*fakes.fleet())
    async with open_events(service, source) as (_, pilot):
        await wait_for_text(pilot, "4 Events")
        view = source.fleet.view(LLAMA)
        source.remove_view(LLAMA)
        await wait_for_text(pilot, "deleted at", "4 Events", "BackOff")
        service.remove(DEPLOYMENT_UID)
        service.put({**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "uid": "new"}})
        source.add_views(replace(view, uid="new", pods=()))
        await wait_for_text(pilot, "1 Event  1 Warning", "pvc/models")


async def test_the_next_serving_has_its_own_events():
    service = make_service()
    async with open_events(service) as (app, pilot):
        await wait_for_text(pilot, "4 Events")
        await pilot.press("right_square_bracket")
        await wait_for_text(pilot, "No Events in the last hour.")
        assert app.screen.key != LLAMA
        await pilot.press("left_square_bracket")
        await wait_for_text(pilot, "4 Events  2 Warnings  ✓ following")
        assert len(service.open_watches) == 3


async def test_the_next_serving_shows_no_event_of_the_last_one_while_its_own_are_added():
    async with open_events() as (app, pilot):
        await wait_for_text(pilot, "✓ following")
        pane = app.screen.active_pane
        assert pane._shown_entries
        pane.deactivate()
        pane.set_serving(LLAMA)
        assert not pane._shown_entries
        assert not pane._all_entries
        assert pane._selected_entry is None


async def test_hidden_it_watches_nothing():
    service = make_service()
    async with open_events(service) as (app, pilot):
        assert sorted(service.open_watches) == ["deployments.apps", "events", "replicasets.apps"]
        pane = app.screen.active_pane
        await pilot.press("3")
        await wait_for(pilot, lambda: not service.open_watches, "the watches to close")
        service.put_events(event("6", "Unhealthy"))
        source_views = app.source
        source_views.notify_changed([LLAMA])
        await pilot.pause()
        assert len(pane.table.rows) == 4
        await pilot.press("6")
        await wait_for_text(pilot, "5 Events")


async def test_text_from_the_cluster_is_text():
    service = make_service()
    service.put_events(event("6", "[red]Odd[/]", "[bold]a\x1b[31mb\nc"))
    async with open_events(service) as (_, pilot):
        await wait_for_text(pilot, "[red]Odd[/]", "[bold]ab c")


async def test_ten_thousand_events_are_shown_up_to_the_maximum_and_said():
    service = make_service()
    service.put_events(
        *(
            event(f"n{at}", "Unhealthy", f"number {at}", last=fakes.ago(seconds=3000 - at // 4))
            for at in range(10_000)
        )
    )
    async with open_events(service) as (_, pilot):
        await wait_for_text(pilot, "2,000 Events", "8,004 older dropped", "BackOff")


async def test_thousands_of_events_are_added_in_portions_and_shown_at_once(monkeypatch):
    service = make_service()
    service.put_events(
        *(
            event(f"n{at}", "Unhealthy", f"number {at}", last=fakes.ago(seconds=at))
            for at in range(900)
        )
    )
    added: list[tuple[int, int]] = []
    panes: list[EventsPane] = []
    record = EventHistory.record

    def note(self, uid, events):
        events = list(events)
        if events:
            added.append((len(events), len(panes[0].table.rows)))
        return record(self, uid, events)

    mount = EventsPane.on_mount

    def note_mounted(self):
        panes.append(self)
        mount(self)

    monkeypatch.setattr(EventHistory, "record", note)
    monkeypatch.setattr(EventsPane, "on_mount", note_mounted)
    async with open_events(service) as (app, pilot):
        await wait_for_text(pilot, "904 Events")
        sizes = [size for size, _ in added]
        assert sum(sizes) == 904
        assert max(sizes) <= PORTION
        assert {rows for _, rows in added} == {0}
        assert len(lines(app)) == 904
        times = [entry.last for entry in app.screen.active_pane._all_entries]
        assert times == sorted(times)
        added.clear()
        service.put_events(event("new", "Killing", "stopped", last=fakes.ago(seconds=-5)))
        await wait_for_text(pilot, "905 Events")
        assert added == [(1, 904)]
        assert "stopped" in lines(app)[-1]


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (300, 80), (20, 10)])
async def test_it_fits_any_terminal(size):
    async with open_events(size=size) as (app, pilot):
        assert reasons(app)[-1] == "BackOff"
        for other in ((10, 3), (300, 80), size):
            await pilot.resize_terminal(*other)
        if size[0] >= 60:
            await wait_for_text(pilot, "4 Events  2 Warnings", "BackOff", "MESSAGE")
        assert "BackOff"[:3] in screen_text(app)


async def test_a_click_opens_it_at_the_second_time():
    async with open_events() as (_, pilot):
        screen = await wait_for_text(pilot, "Killing")
        y = next(at for at, line in enumerate(screen.splitlines()) if "Killing" in line)
        await pilot.click(offset=(20, y), times=2)
        await wait_for_text(pilot, "Event Killing")


async def test_esc_clears_the_filter_before_it_closes_the_page():
    async with open_events(make_service()) as (app, pilot):
        await pilot.press("slash", *"backoff", "enter")
        await wait_for_text(pilot, "1 of 4 Events")
        await pilot.press("escape")
        await wait_for_text(pilot, "4 Events")
        await pilot.press("W", "slash", *"nothing", "enter")
        await wait_for_text(pilot, "No Warning matches the filter.")
        await pilot.press("escape", "escape")
        await wait_for(pilot, lambda: app.screen is app.servings, "the list")
