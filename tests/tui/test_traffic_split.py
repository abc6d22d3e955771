"""The dialogs of a traffic split."""

from __future__ import annotations

import pytest

from servedeck.changes.operations.operation import Outcome
from servedeck.changes.traffic_split.plan import TrafficAction, TrafficOptions, TrafficResult
from servedeck.changes.traffic_split.state import OtherSide
from servedeck.cluster.apply import ObjectRef, Preview, PreviewAction
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.cluster.rejection import Rejection, RejectionReason
from servedeck.serving.objects.field_changes import FieldConflict
from tests.tui.fake_metrics_service import FakeMetricsService
from tests.tui.helpers import wait_for
from tests.tui.traffic import KEY, OTHER, TrafficDriver, http_route, run_traffic
from tui.screens.serving import ServingScreen
from tui.screens.traffic_plan import TrafficPlanDialog
from tui.screens.traffic_split import TrafficSplitScreen
from tui.screens.traffic_weight import TrafficWeightDialog

SPLIT, PROMOTE, ABORT = TrafficAction


async def test_a_share_is_sent_after_the_other_and_the_weight_were_chosen() -> None:
    async with run_traffic() as driver:
        await driver.open("llama-8b 100 %", "sends a share of the requests to another serving")
        await driver.press("w")
        text = await driver.wait_for_text("Send a share to", OTHER)
        assert "bge" not in text, "of the namespace only"
        await driver.press(*"qwen", "enter")
        await driver.wait_for_screen(TrafficWeightDialog)
        await driver.wait_for_text(f"Percent of the requests for {OTHER}", f"{OTHER} gets 1 %")
        await driver.press(*"10", "enter")
        await driver.wait_for_text(
            f"Send 10 % of the requests of {KEY} to {OTHER}",
            "Restarts no Pods.",
            f"llama-8b 100 % → llama-8b 90 %, {OTHER} 10 %",
            "y Set weight",
        )
        assert driver.service.done == []
        await driver.press("enter")
        await driver.wait_for_text(
            f"{OTHER} gets 10 % of the requests of {KEY}.", "90 %", "10 %", "2/2 ready"
        )
        assert driver.service.done == [TrafficOptions(SPLIT, KEY.namespace, KEY.name, OTHER, 10)]


@pytest.mark.parametrize(
    ("key", "action", "title", "label"),
    [
        ("P", PROMOTE, f"Send all requests of {KEY} to {OTHER}", "y Promote"),
        ("X", ABORT, f"Send all requests of {KEY} to it again", "y Abort split"),
    ],
)
async def test_promote_and_abort_are_planned_and_asked(
    key: str, action: TrafficAction, title: str, label: str
) -> None:
    async with run_traffic() as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("90 %", "10 %")
        await driver.press(key)
        await driver.wait_for_text(title, label)
        await driver.press("n")
        await driver.wait_for_screen(TrafficSplitScreen)
        assert driver.service.done == []
        await driver.press(key)
        await driver.wait_for_text(title, label)
        await driver.press("y")
        await driver.wait_for_screen(TrafficSplitScreen)
        await driver.wait_for_text(f"All requests of {KEY} go to")
        assert [one.action for one in driver.service.done] == [action]


async def test_the_weight_of_a_split_is_proposed_and_stepped() -> None:
    async with run_traffic() as driver:
        driver.service.routes = [http_route((KEY.name, 80), (OTHER, 20))]
        await driver.open("20 %")
        await driver.press("w")
        await driver.wait_for_text(f"{OTHER} gets 20 %, llama-8b 80 %.")
        await driver.press("up", "up", "down")
        await driver.wait_for_text(f"{OTHER} gets 21 %")
        await driver.press("enter")
        await driver.wait_for_text(f"Send 21 % of the requests of {KEY} to {OTHER}")
        await wait_for(driver.pilot, lambda: driver.service.planned, "the plan")
        assert driver.service.planned[-1] == TrafficOptions(
            SPLIT, KEY.namespace, KEY.name, "", 21, shown=OtherSide(OTHER, OTHER)
        )


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("0", "Start with 1 percent or more"),
        ("101", "from 0 to 100, not 101."),
        ("x", "Say how many percent"),
    ],
)
async def test_a_wrong_weight_is_said_under_the_field(typed: str, problem: str) -> None:
    async with run_traffic() as driver:
        await driver.open("llama-8b 100 %")
        await driver.press("w")
        await driver.wait_for_text("Send a share to", OTHER)
        await driver.press(*"qwen", "enter")
        await driver.wait_for_screen(TrafficWeightDialog)
        await driver.wait_for_text(f"{OTHER} gets 1 %")
        await driver.press(*typed, "enter")
        await driver.wait_for_text(problem)
        assert driver.service.planned == []
        await driver.press("escape")
        await driver.wait_for_screen(TrafficSplitScreen)


async def test_figures_of_both_are_beside_each_other_and_their_source_is_closed() -> None:
    metrics = FakeMetricsService()
    async with run_traffic(metrics_service=metrics) as driver:
        metrics.servings = driver.app.source  # type: ignore[assignment]
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        screen = await driver.open("Requests/s", "Errors 5xx", "P95")
        await wait_for(
            driver.pilot,
            lambda: (
                len(screen._figures) == 2
                and all(one.figures is not None for one in screen._figures.values())
            ),
            "the figures",
        )
        [line] = [one for one in driver.text.splitlines() if one.split()[:1] == ["P95"]]
        assert len(line.split()) >= 5, line  # two values with their units
        assert len(metrics.open_now) == 2
        await driver.press("escape")
        await wait_for(driver.pilot, lambda: not metrics.open_now, "the end of the reading")


async def test_figures_of_who_has_no_share_any_more_are_not_read() -> None:
    metrics = FakeMetricsService()
    async with run_traffic(metrics_service=metrics) as driver:
        metrics.servings = driver.app.source  # type: ignore[assignment]
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("10 %")
        await wait_for(driver.pilot, lambda: len(metrics.open_now) == 2, "both sources")
        await driver.press("X")
        await driver.wait_for_text("y Abort split")
        await driver.press("y")
        await driver.wait_for_screen(TrafficSplitScreen)
        await wait_for(driver.pilot, lambda: len(metrics.open_now) == 1, "the end of the other's")


async def test_why_there_are_no_figures_is_said() -> None:
    metrics = FakeMetricsService()
    metrics.error = "No Prometheus was found."
    async with run_traffic(metrics_service=metrics) as driver:
        metrics.servings = driver.app.source  # type: ignore[assignment]
        await driver.open(f"{KEY.name}: No Prometheus was found.")


async def test_weights_that_cannot_be_expressed_are_shown_and_not_changed() -> None:
    async with run_traffic() as driver:
        driver.service.routes = [http_route((KEY.name, 50), ("a", 25), ("b", 25))]
        await driver.open("llama-8b 50 %, a 25 %, b 25 %", "divides requests among 3 backends")
        for key in ("w", "P", "X", "o"):
            await driver.press(key)
            await driver.wait_for_text("which servedeck shows, but does not change")
            assert isinstance(driver.app.screen, TrafficSplitScreen)
        assert driver.service.planned == []


async def test_what_is_not_possible_says_why() -> None:
    async with run_traffic() as driver:
        await driver.open("llama-8b 100 %")
        for key in ("P", "X"):
            await driver.press(key)
            await driver.wait_for_text("send a share to another one first.")
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.press("escape")
        await driver.wait_for_screen(ServingScreen)
        await driver.open("10 %")
        await driver.press("o")
        await driver.wait_for_text("Another serving has a share; abort that first.")


async def test_readonly_shows_and_changes_nothing() -> None:
    async with run_traffic(readonly=True) as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("90 %", "10 %")
        for key in ("w", "P", "X"):
            await driver.press(key)
            await driver.wait_for_text("servedeck runs with --readonly")
        assert driver.service.planned == []


async def test_without_a_cluster_the_key_says_so() -> None:
    async with run_traffic() as driver:
        driver.app.traffic_service = None
        await driver.press("K")
        await driver.wait_for_text("Not connected to a cluster.")


async def test_an_error_is_shown_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.traffic_split.RETRY_SECONDS", 0.01)
    async with run_traffic() as driver:
        driver.service.error = ConnectionLostError("The API server does not answer.")
        await driver.open("The API server does not answer.")
        await driver.press("P")
        await driver.wait_for_text("How the requests are divided is not known yet.")
        driver.service.error = None
        await driver.wait_for_text("llama-8b 100 %")


async def test_warnings_and_a_production_context_must_be_read_first() -> None:
    async with run_traffic(is_production_context=lambda _name: True) as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("10 %")
        await driver.press("P")
        await driver.wait_for_text("is a production context.", "y Promote")
        dialog = driver.app.screen
        assert isinstance(dialog, TrafficPlanDialog) and not dialog.confirms
        await driver.press("enter")
        await driver.wait_for_screen(TrafficSplitScreen)
        assert driver.service.done == []


async def test_a_route_that_was_changed_meanwhile_is_planned_again() -> None:
    async with run_traffic() as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        options = TrafficOptions(PROMOTE, KEY.namespace, KEY.name)
        text = "HTTPRoute team-a/llama-8b was changed by somebody else meanwhile."
        driver.service.results = [TrafficResult(options, Outcome.OUTDATED, text)]
        await driver.open("10 %")
        await driver.press("P")
        await driver.wait_for_text("y Promote")
        await driver.press("y")
        await driver.wait_for_text(text, "Restarts no Pods.", "n Back")
        assert driver.service.done == [] and len(driver.service.planned) == 2
        await driver.press("y")
        await driver.wait_for_screen(TrafficSplitScreen)
        assert len(driver.service.done) == 1


ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/team-a/httproutes"


async def begin_promotion(driver: TrafficDriver) -> None:
    """Promote, and wait until the second of its two routes is being written; then want to quit."""
    driver.service.written = [f"{ROUTES}/llama-8b", f"{ROUTES}/second"]
    driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
    await driver.open("10 %")
    await driver.press("P")
    await driver.wait_for_text("y Promote")
    driver.service.write_gate.release()
    await driver.press("y")
    await wait_for(driver.pilot, driver.service.write_gate.locked, "the second write")
    await driver.press("ctrl+c")
    await driver.wait_for_text("is finished first; press ctrl+c again to quit at once.")


async def test_a_promotion_that_is_left_between_two_routes_says_which_was_written() -> None:
    async with run_traffic() as driver:
        await begin_promotion(driver)
        assert driver.app.screen.exit_notice() == (  # type: ignore[attr-defined]
            f"Send all requests of {KEY} to {OTHER}: Interrupted. Written: HTTPRoute "
            "team-a/llama-8b. Not known: HTTPRoute team-a/second, whose response did not come; "
            "look at it first."
        )
        await driver.press("ctrl+c")
        await wait_for(driver.pilot, lambda: driver.app.exiting, "the exit")


async def test_servedeck_ends_when_the_promotion_that_it_waited_for_is_done() -> None:
    async with run_traffic() as driver:
        await begin_promotion(driver)
        driver.service.write_gate.release()
        await wait_for(driver.pilot, lambda: driver.app.exiting, "the exit")
        assert driver.app.return_code == 0
    assert len(driver.service.done) == 1


async def test_a_promotion_that_failed_is_shown_before_servedeck_ends() -> None:
    async with run_traffic() as driver:
        options = TrafficOptions(PROMOTE, KEY.namespace, KEY.name)
        driver.service.results = [TrafficResult(options, Outcome.REJECTED, "This is why.")]
        await begin_promotion(driver)
        driver.service.write_gate.release()
        await driver.wait_for_text("This is why.")
        assert not driver.app.exiting


async def test_conflicts_are_shown_and_overwritten_only_if_that_is_planned() -> None:
    ref = ObjectRef("gateway.networking.k8s.io/v1", "HTTPRoute", KEY.namespace, KEY.name)
    rejection = Rejection(
        RejectionReason.CONFLICT,
        "conflict with flux",
        conflicts=(FieldConflict(".spec.rules", "flux", "[1 rule]", "[other rule]"),),
    )
    preview = Preview(ref, PreviewAction.CHANGE, rejection=rejection)
    async with run_traffic() as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        driver.service.changes = {"blocked": "conflict", "rejections": (preview,)}
        await driver.open("10 %")
        await driver.press("P")
        await driver.wait_for_text(
            "has fields that another manager set:",
            ".spec.rules flux set [1 rule], the weight needs [other rule]",
        )
        driver.service.changes = {}
        await driver.press("o")
        await driver.wait_for_text("y Promote")
        assert [one.force for one in driver.service.planned] == [False, True]


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
async def test_it_fits_a_small_terminal(size: tuple[int, int]) -> None:
    async with run_traffic(size) as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("Share", "90 %")
        [line] = [one for one in driver.text.splitlines() if "Share" in one]
        words = line.split()[:5]  # beside them is the scroll bar
        assert words == ["Share", "90", "%", "10", "%"], "both sides are on the screen"
        assert all(len(one) <= size[0] for one in driver.text.splitlines())
