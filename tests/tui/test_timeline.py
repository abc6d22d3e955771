"""The timeline of a serving: key, contents, updates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.detail.deployment_watch import DeploymentWatch
from servedeck.serving.status.status import Status
from servedeck.serving.status.timeline import since_text
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_serving_page import open_page
from tests.tui.timeline import KEY, make_timeline_app, replay_changes
from tui.app import ServedeckApp
from tui.screens.serving import ServingScreen
from tui.screens.timeline import TimelineScreen
from tui.timeline_entries import timeline_entries
from widgets.styled_line import plain_text


@asynccontextmanager
async def open_timeline(
    size: tuple[int, int] = (120, 40),
) -> AsyncIterator[tuple[ServedeckApp, Pilot[None]]]:
    app = make_timeline_app()
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, KEY.name)
        replay_changes(app)
        await open_page(pilot, app, "j")
        await pilot.press("t")
        await wait_for(pilot, lambda: isinstance(app.screen, TimelineScreen), "the timeline")
        yield app, pilot


def changes(app: Any) -> list[str]:
    """What the lines say, and who knows it."""
    return [
        f"{plain_text(row.cells[3])} [{plain_text(row.cells[4])}]" for row in app.screen.table.rows
    ]


async def test_what_servedeck_observed_and_what_the_objects_tell():
    async with open_timeline() as (app, pilot):
        await wait_for_text(
            pilot,
            "Error since 02:48:00 (12m); 60s before: rollout to revision 3 (image v0.11.1)",
            "✓✓✓R✗✗",
            "R rollout  r restart  ✗ Error  ✓ Ready  . not observed",
        )
        assert changes(app) == [
            "created [objects]",
            "rollout to revision 2 (image v0.11.0) [objects]",
            "✓ Ready when servedeck saw it first [servedeck]",
            "rollout to revision 3 (image v0.11.1) [servedeck]",
            "✗ Ready → Error: OOMKilled [servedeck]",
            "too few replicas are available [objects]",
            "×3 over 6m  inference-server restarted after OOMKilled (Pod …6b8f-9qk2x) [servedeck]",
        ]
        assert app.screen.table.cursor == 6


async def test_it_follows_the_serving_and_keeps_what_a_deleted_one_was():
    async with open_timeline() as (app, pilot):
        source = app.source
        view = source.fleet.view(KEY)
        source.add_views(replace(view, status=Status.DEGRADED, reason=""))
        await wait_for_text(pilot, "! Error → Degraded", "Degraded since 03:00:00 (0s)")
        source.remove_view(KEY)
        await wait_for_text(pilot, "deleted")
        source.add_views(replace(view, uid="new"))
        await pilot.pause()
        assert changes(app)[-1] == "deleted [servedeck]"
        await pilot.press("escape", "t")
        await wait_for(pilot, lambda: changes(app)[-1].startswith("✗ Error when"), "the new one")
        assert not any("Degraded" in change for change in changes(app))


@pytest.mark.parametrize("key", ["escape", "q", "t"])
async def test_it_is_closed_and_watches_nothing_more(key):
    async with open_timeline() as (app, pilot):
        service = app.detail_service
        assert sorted(service.open_watches) == ["deployments.apps", "replicasets.apps"]
        await pilot.press(key)
        await wait_for(pilot, lambda: isinstance(app.screen, ServingScreen), "the page")
        await wait_for(pilot, lambda: len(service.open_watches) == 2, "those of the page alone")
        assert all(watch.is_closed for watch in service.watches[:-2])


async def test_a_missing_permission_and_a_serving_of_which_nothing_is_known():
    app = make_app()
    app.detail_service.missing_permissions["deployments.apps"] = "Cannot list deployments.apps."
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, KEY.name)
        await open_page(pilot, app, "j")
        await pilot.press("t")
        await wait_for_text(pilot, "Nothing is known yet.", "Cannot list deployments.apps.")


async def test_a_switch_of_the_namespace_deletes_nothing():
    async with open_timeline() as (app, pilot):
        source = app.source
        view = source.fleet.by_key.pop(KEY)
        source.state = replace(source.state, phase=fakes.FakePhase.LISTING)
        source.notify_changed([KEY])
        source.state = replace(source.state, phase=fakes.FakePhase.LIVE)
        source.add_views(view)
        await pilot.pause()
        assert "deleted" not in screen_text(app)


async def test_a_pane_reaches_the_entries():
    app = make_timeline_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, KEY.name)
        replay_changes(app)
        view = app.source.fleet.view(KEY)
        watch = DeploymentWatch(app.detail_service, KEY, lambda: None)
        entries = timeline_entries(app, view, watch)
        assert since_text(entries, view.status, fakes.NOW).endswith("revision 3 (image v0.11.1)")
        without = timeline_entries(app, view, None)
        assert {entry.observed for entry in without} == {True}
        await watch.close()


async def test_a_change_that_the_column_cuts_is_shown_in_full():
    whole = "×3 over 6m  inference-server restarted after OOMKilled (Pod …6b8f-9qk2x)"
    async with open_timeline((80, 24)) as (app, pilot):
        timeline = app.screen
        await wait_for_text(pilot, "×3 over 6m")
        assert "(Pod …6b8f-9qk2x)" not in screen_text(app)
        await pilot.press("enter")
        await wait_for_text(pilot, "Restart at 02:5", whole)
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is timeline, "the timeline")
        await pilot.press("home", "enter")
        await wait_for_text(pilot, "Rollout at", "created")


@pytest.mark.parametrize("size", [(80, 24), (60, 20), (300, 80), (20, 8)])
async def test_it_fits_any_terminal(size):
    async with open_timeline(size) as (_app, pilot):
        for other in ((10, 3), (300, 80), size):
            await pilot.resize_terminal(*other)
        if size[0] >= 60:
            await wait_for_text(pilot, "Error since 02:48:00 (12m)", "CHANGE", "×3 over 6m")
