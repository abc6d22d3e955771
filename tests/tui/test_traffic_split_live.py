"""The dialog of a traffic split while others change the routes and the servings."""

from __future__ import annotations

from servedeck.changes.traffic_split.plan import TrafficAction, TrafficOptions
from servedeck.changes.traffic_split.side import Side
from servedeck.changes.traffic_split.state import OtherSide
from servedeck.serving.objects.traffic_split import SplitTarget
from tests.tui import fakes
from tests.tui.fake_detail_service import FakeDetailService
from tests.tui.helpers import wait_for
from tests.tui.traffic import KEY, OTHER, deployment, http_route, run_traffic, service
from tui.screens.serving import ServingScreen
from tui.screens.traffic_plan import TrafficPlanDialog
from tui.screens.traffic_split import TrafficSplitScreen
from tui.screens.traffic_weight import TrafficWeightDialog

_, PROMOTE, ABORT = TrafficAction


async def test_a_route_that_somebody_changes_is_shown_at_once() -> None:
    details = FakeDetailService()
    async with run_traffic(detail_service=details) as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("90 %")
        assert "httproutes.gateway.networking.k8s.io" in " ".join(details.open_watches)
        driver.service.routes = [http_route((KEY.name, 60), (OTHER, 40))]
        details.put(driver.service.routes[0])
        await driver.wait_for_text("60 %", "40 %")
        await driver.press("escape")
        await driver.wait_for_screen(ServingScreen)
        await wait_for(
            driver.pilot,
            lambda: not any("httproutes" in one for one in details.open_watches),
            "the end of the watch",
        )


async def test_a_change_of_either_serving_is_shown() -> None:
    async with run_traffic() as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        await driver.open("10 %")
        target = driver.service.sides[OTHER].target
        driver.service.sides[OTHER] = Side(OTHER, target, deployment(OTHER, ready=0))
        source = driver.app.source
        assert isinstance(source, fakes.FakeSource)
        source.add_views(fakes.serving(OTHER, ready=0))
        await driver.wait_for_text("0/2 ready")


async def test_changes_while_it_is_read_cancel_no_reading() -> None:
    details = FakeDetailService()
    async with run_traffic(detail_service=details) as driver:
        service = driver.service
        service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        screen = await driver.open("90 %")
        await wait_for(
            driver.pilot,
            lambda: screen._read_worker is not None and screen._read_worker.is_finished,
            "the first reading",
        )
        service.gate.clear()
        count = len(service.reads)
        service.routes = [http_route((KEY.name, 60), (OTHER, 40))]
        details.put(service.routes[0])
        await wait_for(driver.pilot, lambda: len(service.reads) == count + 1, "a reading")
        service.routes = [http_route((KEY.name, 55), (OTHER, 45))]
        source = driver.app.source
        assert isinstance(source, fakes.FakeSource)
        for ready in (0, 1, 2):
            source.add_views(fakes.serving(OTHER, ready=ready))
            details.put(service.routes[0])
            await driver.pilot.pause()
        assert (service.canceled, len(service.reads)) == (0, count + 1)
        service.gate.set()
        # What was changed while it was read is read once more.
        await driver.wait_for_text("55 %", "45 %")
        assert service.canceled == 0


async def test_a_route_that_is_created_later_is_shown() -> None:
    details = FakeDetailService()
    async with run_traffic(detail_service=details) as driver:
        driver.service.routes = []
        await driver.open("No HTTPRoute or VirtualService of namespace")
        kinds = (
            "httproutes.gateway.networking.k8s.io",
            "virtualservices.networking.istio.io",
            "ingresses.networking.k8s.io",
            "services",
        )
        assert set(kinds) <= set(details.open_watches)
        driver.service.routes = [http_route((KEY.name, 100))]
        details.put(driver.service.routes[0])
        await driver.wait_for_text("llama-8b 100 %")


async def test_a_split_with_a_service_that_was_deleted_is_said_and_can_only_be_aborted() -> None:
    details = FakeDetailService()
    async with run_traffic(detail_service=details) as driver:
        driver.service.routes = [http_route((KEY.name, 90), (OTHER, 10))]
        side = driver.service.sides.pop(OTHER)
        gone = f"Service {OTHER}, which the requests are divided with, is not in"
        await driver.open("90 %", gone)
        assert "sends a share of the requests to another" not in driver.text
        for key in ("w", "P"):
            await driver.press(key)
            # Under the text, in the line of messages, too.
            await wait_for(driver.pilot, lambda: driver.text.count(gone) == 2, "the reason")
            assert isinstance(driver.app.screen, TrafficSplitScreen)
            driver.app.screen.show_message("")
            await wait_for(driver.pilot, lambda: driver.text.count(gone) == 1, "no message")
        await driver.press("X")
        await driver.wait_for_text("y Abort split")
        await driver.press("n")
        await driver.wait_for_screen(TrafficSplitScreen)
        driver.service.sides[OTHER] = side
        details.put(service(OTHER))
        await wait_for(driver.pilot, lambda: gone not in driver.text, "the Service")
        await driver.wait_for_text("2/2 ready")


async def test_the_screen_goes_on_while_the_chosen_one_is_read() -> None:
    async with run_traffic() as driver:
        screen = await driver.open("llama-8b 100 %")
        await driver.press("w")
        await driver.wait_for_text("Send a share to", OTHER)
        driver.service.gate.clear()
        count = len(driver.service.reads)
        await driver.press(*"qwen", "enter")
        await wait_for(driver.pilot, lambda: OTHER in driver.service.reads[count:], "the reading")
        handled = list[bool]()
        screen.call_later(lambda: handled.append(True))
        driver.app.call_later(lambda: handled.append(True))
        await wait_for(driver.pilot, lambda: len(handled) == 2, "the screen and the app")
        assert driver.app.screen is screen
        driver.service.gate.set()
        await driver.wait_for_screen(TrafficWeightDialog)


async def test_a_change_is_of_the_other_that_was_shown() -> None:
    """Whom the plan is blocked for, if the requests are divided with another one then."""
    details = FakeDetailService()
    async with run_traffic(detail_service=details) as driver:
        service = driver.service
        service.sides["bge"] = Side("bge", SplitTarget("bge", 80), deployment("bge"))
        service.routes = [http_route((KEY.name, 80), (OTHER, 20))]
        screen = await driver.open("20 %")
        await driver.press("w")
        await driver.wait_for_text(f"{OTHER} gets 20 %")
        service.routes = [http_route((KEY.name, 70), ("bge", 30))]
        details.put(service.routes[0])
        await wait_for(
            driver.pilot,
            lambda: screen._state is not None and screen._state.others == ["bge"],
            "what somebody else did",
        )
        await driver.press("enter")
        # What would be changed now is what the title names.
        await driver.wait_for_text(f"Send 20 % of the requests of {KEY} to bge", "n Back")
        assert service.planned[-1].shown == OtherSide(OTHER, OTHER)
        await driver.press("n")
        await driver.wait_for_screen(TrafficSplitScreen)
        for key, action in (("P", PROMOTE), ("X", ABORT)):
            await driver.press(key)
            await driver.wait_for_screen(TrafficPlanDialog)
            await driver.wait_for_text("Restarts no Pods.")
            assert service.planned[-1] == TrafficOptions(
                action, KEY.namespace, KEY.name, shown=OtherSide("bge", "bge")
            )
            await driver.press("n")
            await driver.wait_for_screen(TrafficSplitScreen)
