"""The keys that show logs, where these may not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.config import Settings
from servedeck.demo.cluster import DemoCluster
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui import log_permission
from tui.app import ServedeckApp
from tui.change_service import ClusterChangeService

REASON = "Needs get on pods/log in namespace team-a."


@pytest.fixture
def change_service(tmp_path: Path) -> FakeChangeService:
    return FakeChangeService(tmp_path / "drafts")


def make(change_service: FakeChangeService) -> ServedeckApp:
    view = fakes.serving("llama", namespace="team-a", pods=(fakes.pod("llama-0"),))
    return make_app(fakes.FakeSource().add_views(view), change_service=change_service)


def is_struck(app: ServedeckApp, label: str) -> bool:
    """Whether the footer of the screen in front has the key struck through."""
    hints = app.screen.key_footer._hints
    return next(one.disabled for one in hints if one.label == label)


async def test_a_key_that_may_not_read_logs_is_struck_through_and_says_why(
    change_service: FakeChangeService,
) -> None:
    app = make(change_service)
    change_service.read_disabled_reasons["get", "pods/log", "team-a"] = REASON
    async with app.run_test(size=(160, 40)) as pilot:
        await wait_for_text(pilot, "llama")
        await wait_for(pilot, lambda: is_struck(app, "logs"), "the struck key of the list")
        await pilot.press("l")
        await wait_for_text(pilot, REASON)
        await pilot.press("enter")
        await wait_for_text(pilot, "llama-0")
        await wait_for(pilot, lambda: is_struck(app, "logs"), "the struck key of the page")
        await pilot.press("l")
        await wait_for_text(pilot, REASON)
        assert "Overview" in screen_text(app)


async def test_it_is_asked_once_and_then_from_time_to_time(
    change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []

    async def refresh(verb: str, resource: str, namespace: str) -> None:
        asked.append((verb, resource, namespace))
        change_service.read_disabled_reasons[verb, resource, namespace] = REASON

    now = 1000.0
    monkeypatch.setattr(log_permission, "monotonic", lambda: now)
    monkeypatch.setattr(change_service, "refresh_read_permission", refresh)
    app = make(change_service)
    async with app.run_test(size=(160, 40)) as pilot:
        await wait_for(pilot, lambda: asked, "the question")
        await wait_for(pilot, lambda: is_struck(app, "logs"), "the answer in the footer")
        await pilot.press("l")
        await wait_for_text(pilot, REASON)
        assert asked == [("get", "pods/log", "team-a")]
        now += log_permission.PERMISSION_MAX_AGE + 1
        await pilot.press("l")
        await wait_for(pilot, lambda: len(asked) == 2, "the question again")
        assert set(asked) == {("get", "pods/log", "team-a")}


async def test_what_a_viewer_of_a_cluster_may_not_read_is_named() -> None:
    async with DemoCluster(live=False) as demo:
        options = ConnectionOptions(kubeconfig=(demo.kubeconfig,), context="demo-viewer")
        connection = await Connection.open(options)
        try:
            service = ClusterChangeService(lambda: connection, Settings)
            assert service.read_disabled_reason("get", "secrets", "chat") == ""  # not known yet
            for resource in ("secrets", "pods/log"):
                await service.refresh_read_permission("get", resource, "chat")
            reason = "Needs get on secrets in namespace chat."
            assert service.read_disabled_reason("get", "secrets", "chat") == reason
            assert service.read_disabled_reason("get", "pods/log", "chat") == ""
        finally:
            await connection.close()
