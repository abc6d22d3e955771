"""Pictures of the tab Settings. `pytest --snapshot-update` updates them; look at each that
changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from styles.themes import DARK
from tests.detail.objects import deployment
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import make_app, wait_for
from tests.tui.settings_pane import (
    KEY,
    TAB,
    TRANSFORMER,
    Json,
    cpu_hpa,
    is_shown,
    keda_hpa,
    scaled_object,
)

Compare = Callable[..., bool]
SMALL, LARGE, TINY = (80, 24), (200, 50), (20, 10)


def picture(
    compare: Compare,
    change_service: FakeChangeService,
    *objects: Json,
    size: tuple[int, int] = SMALL,
    missing_kinds: tuple[str, ...] = (),
    **options: Any,
) -> bool:
    workload = deployment()
    workload["spec"]["template"]["spec"]["containers"].append(TRANSFORMER)
    detail = FakeDetailService(workload, *objects)
    detail.missing_kinds = set(missing_kinds)
    app = make_app(
        detail_service=detail, change_service=change_service, **{"theme": DARK.name, **options}
    )

    async def show(pilot: Pilot[Any]) -> None:
        await wait_for(pilot, lambda: app.servings.table.select(KEY), "the serving")
        await pilot.press("enter", TAB)
        await wait_for(pilot, lambda: is_shown(app), "the settings")

    return compare(app, terminal_size=size, run_before=show)


@pytest.mark.parametrize("size", [SMALL, LARGE, TINY], ids=["80x24", "200x50", "20x10"])
def test_with_an_autoscaler(
    snap_compare: Compare, change_service: FakeChangeService, size: tuple[int, int]
) -> None:
    assert picture(snap_compare, change_service, scaled_object(), keda_hpa(), size=size)


def test_without_an_autoscaler(snap_compare: Compare, change_service: FakeChangeService) -> None:
    assert picture(snap_compare, change_service)


def test_with_the_autoscaler_of_somebody_else(
    snap_compare: Compare, change_service: FakeChangeService
) -> None:
    assert picture(snap_compare, change_service, cpu_hpa())


def test_without_keda(snap_compare: Compare, change_service: FakeChangeService) -> None:
    kinds = (
        "scaledobjects.keda.sh",
        "destinationrules.networking.istio.io",
        "virtualservices.networking.istio.io",
        "backendtrafficpolicies.gateway.envoyproxy.io",
    )
    assert picture(snap_compare, change_service, missing_kinds=kinds)


def test_without_color(
    snap_compare: Compare, change_service: FakeChangeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(snap_compare, change_service, scaled_object(), keda_hpa())
