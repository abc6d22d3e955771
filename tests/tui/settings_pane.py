"""Opens the tab Settings in tests, on objects that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from textual.pilot import Pilot

from servedeck.fleet.views import NamespacedName
from tests.detail.objects import NAMESPACE, deployment
from tests.serving.scaling import autoscalers
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import ServedeckApp
from tui.panes.settings import SettingsPane
from tui.screens.edit.edit_screen import EditScreen
from tui.screens.serving import PANES

Json = dict[str, Any]
KEY = NamespacedName(NAMESPACE, "llama-70b-chat")
TAB = str(PANES.index(SettingsPane) + 1)
TRANSFORMER = {
    "name": "transformer",
    "image": "registry.example.com/transformer:1",
    "command": ["python3", "transform.py"],
    "ports": [{"containerPort": 9090}],
    "env": [{"name": "API_TOKEN", "value": "abc-def"}, {"name": "WORKERS", "value": "4"}],
}


def scaled_object(**spec: Any) -> Json:
    """A ScaledObject of servedeck, by the response time."""
    made = autoscalers.scaled_object(KEY.name, target=KEY.name, namespace=NAMESPACE, **spec)
    made["spec"]["triggers"] = [
        one for one in made["spec"]["triggers"] if one.get("name") == "response-time"
    ]
    return made


def keda_hpa(**options: Any) -> Json:
    """The HorizontalPodAutoscaler that KEDA keeps for it."""
    made = autoscalers.hpa(
        f"keda-hpa-{KEY.name}", target=KEY.name, namespace=NAMESPACE, owner=KEY.name, **options
    )
    keep_metric(made, "External", "s0-prometheus")
    made["spec"]["metrics"][0]["external"]["target"]["value"] = "5000"
    for one in made["status"]["currentMetrics"]:
        one["external"]["current"]["value"] = "6200"
    return made


def keep_metric(made: Json, kind: str, name: str) -> None:
    """Keep one metric of an autoscaler, which is called `name`."""
    for metrics in (made["spec"]["metrics"], made["status"]["currentMetrics"]):
        metrics[:] = [
            one
            for one in metrics
            if one["type"] == kind and "averageValue" not in str(one).replace("'value'", "")
        ][:1]
        if kind == "External":
            metrics[0]["external"]["metric"]["name"] = name


def cpu_hpa() -> Json:
    """A HorizontalPodAutoscaler that kubectl made."""
    made = autoscalers.hpa("by-cpu", target=KEY.name, namespace=NAMESPACE, owner="")
    keep_metric(made, "Resource", "cpu")
    made["metadata"]["managedFields"] = [{"manager": "kubectl-autoscale"}]
    return made


class Driver(NamedTuple):
    app: ServedeckApp
    pilot: Pilot[Any]
    detail: FakeDetailService

    @property
    def pane(self) -> SettingsPane:
        found = self.app.screen_stack[1].active_pane  # type: ignore[attr-defined]
        assert isinstance(found, SettingsPane)
        return found

    @property
    def text(self) -> str:
        return " ".join(screen_text(self.app).split())

    async def wait_for_text(self, *texts: str) -> None:
        await wait_for_text(self.pilot, *texts)

    async def select(self, card: str, row: str) -> None:
        """Put the cursor on a row."""
        key = (card, row)
        await wait_for(self.pilot, lambda: key in self.pane.cards.item_keys, f"the row {key}")
        self.pane.cards.select(key)
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def wait_for_form(self, path: str) -> EditScreen:
        """Wait for the form with the cursor on a field."""

        def is_there() -> bool:
            form = self.app.screen
            return isinstance(form, EditScreen) and getattr(form.focused, "path", "") == path

        await wait_for(self.pilot, is_there, f"the form at {path}")
        assert isinstance(self.app.screen, EditScreen)
        return self.app.screen


@asynccontextmanager
async def open_settings(
    change_service: FakeChangeService,
    *objects: Json,
    size: tuple[int, int] = (100, 40),
    workload: Json | None = None,
    missing_kinds: tuple[str, ...] = (),
    **options: Any,
) -> AsyncIterator[Driver]:
    """The tab of a serving with these objects around its Deployment."""
    made = workload or deployment()
    change_service.objects[KEY] = [made, *objects]
    detail = FakeDetailService(made, *objects)
    detail.missing_kinds = set(missing_kinds)
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, detail_service=detail, change_service=change_service, **options)
    async with app.run_test(size=size) as pilot:
        await wait_for(pilot, lambda: app.servings.table.select(KEY), "the serving")
        await pilot.press("enter", TAB)
        driver = Driver(app, pilot, detail)
        await wait_for(pilot, lambda: is_shown(app), "the settings")
        yield driver


def is_shown(app: ServedeckApp) -> bool:
    pane = getattr(app.screen, "active_pane", None)
    return isinstance(pane, SettingsPane) and bool(pane.cards.item_keys)
