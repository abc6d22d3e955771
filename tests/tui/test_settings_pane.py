"""The tab Settings: its cards follow the cluster, and open the form at a field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.async_queue.state import CurrentLimits
from servedeck.changes.operations.operation import OperationKind
from servedeck.serving.async_limits import DEFAULTS
from servedeck.serving.objects.async_gateway import AsyncPlatform, build_async_gateway
from servedeck.serving.scaling.proposal import ScalingProposal
from servedeck.serving.scaling.scaling_metrics import ScaledBy
from servedeck.serving.status.start_times import Start
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.detail.objects import deployment
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.tui.helpers import wait_for
from tests.tui.queue_actions import FakeAsyncQueueService
from tests.tui.settings_pane import (
    KEY,
    TAB,
    TRANSFORMER,
    Driver,
    cpu_hpa,
    is_shown,
    keda_hpa,
    open_settings,
    scaled_object,
)
from tui.metrics.scaling_feed import ScalingFeed
from tui.screens.async_queue_limits_editor import LimitsEditor
from tui.screens.async_queue_on import AsyncQueueOnDialog
from tui.screens.serving import ServingScreen, find_pane
from tui.screens.what_if import WhatIfScreen


def test_it_is_found_by_its_name():
    pane = find_pane("settings")
    assert pane is not None
    assert pane.TITLE == "Settings"


async def test_the_traffic_split_is_in_the_footer(change_service: FakeChangeService):
    """Behind the actions of the tab Settings, and on the other tabs among those of the page."""
    async with open_settings(change_service, scaled_object()) as driver:
        page = driver.app.screen
        assert isinstance(page, ServingScreen)
        await wait_for(
            driver.pilot,
            lambda: (
                [one.key for one in page.footer_hints()][:7]
                == ["esc", "enter", "w", "m", "e", "o", "K"]
            ),
            "the keys of the tab",
        )
        await driver.press("1")
        await wait_for(
            driver.pilot,
            lambda: "K" in [one.key for one in page.footer_hints()][12:],
            "the keys of the page",
        )


async def test_the_cards_follow_the_cluster(change_service: FakeChangeService):
    async with open_settings(change_service, scaled_object(), keda_hpa()) as driver:
        await driver.wait_for_text(
            f"set by ScaledObject {KEY.name}", "Min Replicas", "response time", "6200 ms"
        )
        changed = scaled_object(minReplicaCount=4)
        driver.detail.put(changed)
        await wait_for(
            driver.pilot,
            lambda: any(row.value == "4" for card in driver.pane._cards for row in card.rows),
            "the other minimum",
        )
        driver.detail.remove(changed["metadata"]["uid"])
        driver.detail.remove(keda_hpa()["metadata"]["uid"])
        await driver.wait_for_text("Auto Scaling off")
        driver.detail.put(deployment(livenessProbe={"httpGet": {"path": "/alive", "port": 8000}}))
        await driver.wait_for_text("/alive")


@pytest.mark.parametrize(
    ("annotation", "value", "state"),
    [
        ("autoscaling.keda.sh/paused", "true", "paused"),
        ("autoscaling.keda.sh/paused-replicas", "4", "paused at 4"),
    ],
)
async def test_a_paused_scaler_says_so_and_by_which_annotation(
    change_service: FakeChangeService, annotation: str, value: str, state: str
):
    made = scaled_object()
    made["metadata"]["annotations"] = {annotation: value}
    async with open_settings(change_service, made, keda_hpa()) as driver:
        await driver.wait_for_text(f"replicas: {state}", f"by {annotation}")


async def test_a_hidden_tab_watches_nothing(change_service: FakeChangeService):
    async with open_settings(change_service, scaled_object(), keda_hpa()) as driver:
        opened = driver.detail.open_watches
        assert {"scaledobjects.keda.sh", "leases.coordination.k8s.io"} <= set(opened)
        await driver.press("escape")
        await wait_for(driver.pilot, lambda: not driver.detail.open_watches, "the end of all")


async def test_enter_and_e_open_the_form_at_the_field(change_service: FakeChangeService):
    async with open_settings(change_service, scaled_object(), keda_hpa()) as driver:
        await driver.select("scaling", "max_replicas")
        await driver.press("enter")
        form = await driver.wait_for_form("max_replicas")
        assert form.form.get_text("max_replicas") == "10"
        await driver.press("escape")
        await driver.select("traffic", "load_balancing")
        await driver.press("e")
        await driver.wait_for_form("load_balancing")
        await driver.press("escape")
        # The autoscaler sets the replicas: its minimum is meant.
        await driver.select("server", "replicas")
        await driver.press("e")
        await driver.wait_for_form("min_replicas")
        await driver.press("escape")
        await driver.select("scaler", KEY.name)
        await driver.press("enter")
        await driver.wait_for_form("min_replicas")


async def test_a_setting_that_may_not_be_changed_says_so(change_service: FakeChangeService):
    reason = "You may not patch deployments.apps."
    change_service.operation_disabled_reasons[OperationKind.RESTART.value] = reason
    async with open_settings(change_service) as driver:
        await driver.select("server", "liveness_path")
        await driver.press("enter")
        await driver.wait_for_text(reason)


async def test_the_fields_of_a_switch_appear_when_it_is_turned_on(
    change_service: FakeChangeService,
):
    async with open_settings(change_service) as driver:
        await driver.select("scaling", "auto_scaling")
        await driver.press("enter")
        form = await driver.wait_for_form("auto_scaling")

        def paths() -> set[str]:
            return {one.path for one in form.form.fields}

        assert not {"min_replicas", "target_response_time", "target_waiting"} & paths()
        await driver.press("right")
        await driver.wait_for_form("auto_scaling")
        assert {"min_replicas", "max_replicas", "target_response_time"} <= paths()
        assert "target_waiting" not in paths()
        form.form.focus_path("min_replicas")
        await driver.wait_for_form("min_replicas")
        await driver.press("home", "ctrl+k", "3")
        await wait_for(driver.pilot, lambda: form.form.get_text("min_replicas") == "3", "3")
        form.form.focus_path("auto_scaling")
        await driver.wait_for_form("auto_scaling")
        await driver.press("right")
        assert "target_waiting" in paths()
        assert "target_response_time" not in paths()
        await driver.press("right")  # off again
        await wait_for(driver.pilot, lambda: "min_replicas" not in paths(), "the hidden field")
        assert form.change_count == 0  # a text that is hidden changes nothing
        await driver.press("left")
        await wait_for(driver.pilot, lambda: "min_replicas" in paths(), "the field again")
        assert form.form.get_text("min_replicas") == "3"
        spec, _ = form.edit.validate()
        assert spec is not None
        assert spec.min_replicas == 3


async def test_a_hidden_text_that_is_wrong_is_in_nobodys_way(change_service: FakeChangeService):
    async with open_settings(change_service) as driver:
        await driver.select("scaling", "auto_scaling")
        await driver.press("enter")
        form = await driver.wait_for_form("auto_scaling")
        await driver.press("right")
        form.form.focus_path("max_replicas")
        await driver.wait_for_form("max_replicas")
        await driver.press("home", "ctrl+k", *"many")
        await wait_for(driver.pilot, lambda: form.form.get_text("max_replicas") == "many", "it")
        assert form.edit.validate()[0] is None
        form.form.focus_path("auto_scaling")
        await driver.wait_for_form("auto_scaling")
        await driver.press("left")
        await wait_for(driver.pilot, lambda: form.edit.validate()[0] is not None, "no error")


async def test_the_picker_says_what_each_choice_means(change_service: FakeChangeService):
    async with open_settings(change_service) as driver:
        await driver.select("scaling", "auto_scaling")
        await driver.press("enter")
        await driver.wait_for_form("auto_scaling")
        await driver.press("space")
        await driver.wait_for_text(
            "response-time", "longer answers raise it, too", "rise before users notice the load"
        )


async def test_somebody_elses_autoscaler_stays_in_the_choices(change_service: FakeChangeService):
    async with open_settings(change_service, cpu_hpa()) as driver:
        await driver.wait_for_text("HorizontalPodAutoscaler by-cpu made by kubectl-autoscale")
        await driver.select("scaling", "auto_scaling")
        await driver.press("enter")
        await driver.wait_for_form("auto_scaling")
        await driver.wait_for_text("whose metrics are kept")
        await driver.press("space")
        await driver.wait_for_text("hpa", "waiting-requests")


async def test_a_masked_variable_of_the_transformer_is_shown_on_request(
    change_service: FakeChangeService,
):
    workload = deployment()
    workload["spec"]["template"]["spec"]["containers"].append(TRANSFORMER)
    async with open_settings(change_service, workload=workload, size=(100, 50)) as driver:
        await driver.select("transformer", "env.API_TOKEN")
        assert "abc-def" not in driver.text
        await driver.press("ctrl+g")
        await driver.wait_for_text("abc-def")
        await driver.press("1", "5")
        await driver.wait_for_text("Transformer", "WORKERS")
        assert "abc-def" not in driver.text
        await driver.select("transformer", "image")
        await driver.press("enter")
        await driver.wait_for_form("transformer.image")


async def test_without_keda_it_says_so(change_service: FakeChangeService):
    kinds = ("scaledobjects.keda.sh",)
    async with open_settings(change_service, missing_kinds=kinds) as driver:
        await driver.wait_for_text("Auto Scaling not available: KEDA is not installed")


async def test_api_groups_are_read_once_and_tell_what_may_not_be_listed(
    change_service: FakeChangeService,
):
    change_service.api_groups = frozenset({"keda.sh"})
    async with open_settings(change_service) as driver:
        driver.detail.missing_permissions = {
            "scaledobjects.keda.sh": "You may not list scaledobjects.keda.sh."
        }
        driver.detail.notify()
        await driver.wait_for_text("not available: You may not list scaledobjects.keda.sh.")


async def test_the_graphs_follow_what_it_is_scaled_by(change_service: FakeChangeService):
    metrics = FakeMetricsService()
    options = {"metrics_service": metrics, "size": (100, 24)}
    async with open_settings(change_service, scaled_object(), keda_hpa(), **options) as driver:
        metrics.servings = driver.app.source
        assert not driver.pane.charts.display
        await driver.press("m")
        await driver.wait_for_text("P95 response time", "Replicas")
        assert driver.pane.charts.display
        assert not driver.pane.cards.display
        await driver.press("escape")
        await driver.wait_for_text("Inference Server")
        assert not driver.pane.charts.display


async def test_the_keys_of_the_pane_work_while_the_graphs_replace_the_cards(
    change_service: FakeChangeService,
):
    metrics = FakeMetricsService()
    options = {"metrics_service": metrics, "size": (100, 24)}
    async with open_settings(change_service, scaled_object(), keda_hpa(), **options) as driver:
        metrics.servings = driver.app.source
        pane = driver.pane
        await driver.press("m")
        await driver.wait_for_text("P95 response time")
        await driver.press("m")
        await wait_for(driver.pilot, lambda: pane.cards.display, "the cards")
        await driver.press("m")
        await driver.wait_for_text("P95 response time")
        await driver.press("w")
        await wait_for(
            driver.pilot, lambda: isinstance(driver.app.screen, WhatIfScreen), "the replay"
        )
        await driver.press("escape")
        await wait_for(driver.pilot, lambda: driver.app.screen is pane.screen, "the tab")
        await driver.press("1", TAB)  # the graphs are still in the place of the cards
        await wait_for(driver.pilot, lambda: pane.is_active, "the tab again")
        await driver.press("m")
        await wait_for(driver.pilot, lambda: pane.cards.display, "the cards")
        await driver.press("m")
        await wait_for(driver.pilot, lambda: not pane.cards.display, "the graphs")
        # Without its autoscaler there is no graph, and the cards are back, with the keys.
        for one in (scaled_object(), keda_hpa()):
            driver.detail.remove(one["metadata"]["uid"])
        await wait_for(driver.pilot, lambda: pane.cards.display, "the cards")
        await driver.select("traffic", "load_balancing")
        await driver.press("e")
        await driver.wait_for_form("load_balancing")


async def test_only_the_graphs_that_are_shown_are_read(change_service: FakeChangeService):
    metrics = FakeMetricsService()
    options = {"metrics_service": metrics, "size": (100, 24)}
    async with open_settings(change_service, scaled_object(), keda_hpa(), **options) as driver:
        metrics.servings = driver.app.source
        for times in range(1, 4):
            await driver.press("m")
            await wait_for(driver.pilot, lambda: len(metrics.opened) == times, "the graphs")  # noqa: B023
            assert len(metrics.open_now) == 1
            await driver.press("m")
            await wait_for(driver.pilot, lambda: not metrics.open_now, "the end of the reading")
        assert not [one for one in driver.pane._open_watches if isinstance(one, ScalingFeed)]


async def test_without_auto_scaling_there_is_no_graph(change_service: FakeChangeService):
    async with open_settings(change_service) as driver:
        await driver.press("m")
        await driver.wait_for_text("There is a graph only while servedeck's auto scaling is on.")


async def test_a_replay_can_be_put_into_the_form(change_service: FakeChangeService):
    metrics = FakeMetricsService()
    async with open_settings(change_service, metrics_service=metrics) as driver:
        metrics.servings = driver.app.source
        await driver.press("w")
        await wait_for(
            driver.pilot, lambda: isinstance(driver.app.screen, WhatIfScreen), "the replay"
        )
        proposal = ScalingProposal(ScaledBy.WAITING_REQUESTS, 3.0, 2, 6, 120)
        driver.app.screen.dismiss(proposal)
        form = await driver.wait_for_form("auto_scaling")
        spec, _ = form.edit.validate()
        assert spec is not None
        assert spec.auto_scaling == "waiting-requests"
        assert (spec.min_replicas, spec.max_replicas, spec.scale_in_delay) == (2, 6, 120)
        assert spec.target_waiting == 3
        assert form.change_count >= 5


async def test_a_replay_takes_the_longest_known_start(change_service: FakeChangeService):
    metrics = FakeMetricsService()
    async with open_settings(change_service, metrics_service=metrics) as driver:
        metrics.servings = driver.app.source
        view = driver.app.source.fleet.view(KEY)
        assert view is not None
        pods = [
            fakes.pod(f"pod-{seconds}", containers=(fakes.container("server", start=start),))
            for seconds in (90, 220, 150)
            for start in [Start(fakes.NOW, seconds)]
        ]
        driver.app.history.starts.record(view.uid, "server", pods)
        await driver.press("w")
        await wait_for(
            driver.pilot, lambda: isinstance(driver.app.screen, WhatIfScreen), "the replay"
        )
        assert driver.app.screen._base.startup_seconds == 220.0


async def test_the_metrics_of_others_are_not_replayed(change_service: FakeChangeService):
    metrics = FakeMetricsService()
    async with open_settings(change_service, cpu_hpa(), metrics_service=metrics) as driver:
        await driver.press("w")
        await driver.wait_for_text("Only auto scaling by response-time or waiting-requests can be")
        assert not isinstance(driver.app.screen, WhatIfScreen)


async def test_the_async_queue_is_turned_on_from_here(change_service: FakeChangeService):
    async with open_settings(change_service) as driver:
        await driver.select("traffic", "async_queue")
        await driver.press("enter")
        await driver.wait_for_text("Not connected to the API server.")
        assert not isinstance(driver.app.screen, AsyncQueueOnDialog)


def gateway_objects(**limits: Any) -> list[dict[str, Any]]:
    """Those of an async queue that are watched."""
    platform = AsyncPlatform(image="servedeck:1", store="valkey://valkey:6379")
    made = build_async_gateway(KEY.namespace, KEY.name, platform, replace(DEFAULTS, **limits))
    kept = [one for one in made if one["kind"] in ("ConfigMap", "Deployment")]
    for one in kept:
        one["metadata"]["uid"] = f"uid-{one['kind']}-async"
    return kept


async def test_the_limits_of_the_async_queue_are_changed_from_here(
    change_service: FakeChangeService,
):
    service = FakeAsyncQueueService(FakeQueueApi(FakeQueue()))
    service.limits = CurrentLimits(replace(DEFAULTS, max_depth=7), False)
    objects = gateway_objects(max_depth=7)
    async with open_settings(change_service, *objects, async_queue_service=service) as driver:
        await driver.wait_for_text(
            "on: 4 per Pod, 7 waiting,", "L changes the limits", "L queue limits"
        )
        assert "async queue" not in driver.text.rpartition("esc close")[2]
        await driver.select("traffic", "async_queue")
        await driver.press("enter")
        form = await wait_for_limits(driver)
        assert form.field("max_depth").text == "7"
        await driver.wait_for_text("Concurrency per Pod: tasks that one Pod")
        await driver.press("escape")
        await driver.select("queue", "keep_failed")
        for key in ("enter", "L"):
            await driver.press(key)
            form = await wait_for_limits(driver)
            assert form.field("keep_failed").input.has_focus
            await driver.press("escape")
            await wait_for(driver.pilot, lambda: is_shown(driver.app), "the settings")


async def wait_for_limits(driver: Driver) -> LimitsEditor:
    def is_there() -> bool:
        form = driver.app.screen
        return isinstance(form, LimitsEditor) and form.focused is not None

    await wait_for(driver.pilot, is_there, "the limits")
    assert isinstance(driver.app.screen, LimitsEditor)
    return driver.app.screen


async def test_limits_without_a_queue_or_the_right_to_change_them(
    change_service: FakeChangeService,
):
    service = FakeAsyncQueueService(FakeQueueApi(FakeQueue()))
    async with open_settings(change_service, async_queue_service=service) as driver:
        await driver.wait_for_text("o turns it on", "o async queue")
        await driver.press("L")
        await driver.wait_for_text("The async queue is off; o turns it on.")
        await wait_for(driver.pilot, lambda: service.refreshed == [KEY], "the permissions")
    service.next_reason = "Needs patch on configmaps in namespace team-a."
    objects = gateway_objects()
    async with open_settings(change_service, *objects, async_queue_service=service) as driver:
        await driver.wait_for_text("on: 4 per Pod")
        await wait_for(driver.pilot, lambda: service.reason, "the permissions")
        await driver.press("L")
        await driver.wait_for_text(service.next_reason)
        await wait_for(
            driver.pilot,
            lambda: any(
                one.action == "settings.limits" and one.disabled
                for one in driver.app.screen.footer_hints()  # type: ignore[attr-defined]
            ),
            "the key to be off",
        )


async def test_the_yaml_of_the_autoscaler_is_one_key_away(change_service: FakeChangeService):
    async with open_settings(change_service, scaled_object(), keda_hpa()) as driver:
        await driver.select("scaling", "min_replicas")
        await driver.press("y")
        await driver.wait_for_text(f"ScaledObject/{KEY.name}", "minReplicaCount")
