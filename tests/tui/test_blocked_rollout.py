"""A rollout on full accelerators: the plan, the badge, and the key that lets it go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from servedeck.demo.cluster import DemoCluster
from servedeck.fleet.views import NamespacedName, ServingView
from servedeck.serving.status.rollout import BLOCKED_BADGE
from tests.tui.edit_form import EditDriver, container_of, image_of, run_app
from tests.tui.helpers import wait_for
from tui.screens.edit.edit_dialog import EditDialog

KEY = NamespacedName("chat", "exaone-40-32b")
"""Two of its three Pods hold all accelerators of the only node that they may run on."""
IMAGE = "vllm/vllm-openai:v0.32.1"
WAY_OUT = "maxSurge 0, maxUnavailable 2"


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as found:
        yield found


@pytest.fixture
async def driver(demo: DemoCluster, tmp_path: Path) -> AsyncIterator[EditDriver]:
    async with run_app(demo, tmp_path / "drafts") as found:
        await found.wait_for(lambda: found.app.servings.table.select(KEY), "the serving")
        yield found


def view_of(driver: EditDriver) -> ServingView:
    view = driver.app.source.fleet.view(KEY)
    assert view is not None
    return view


async def block(driver: EditDriver) -> None:
    """Another client changes the image; wait for the badge."""
    await driver.change(lambda one: container_of(one).update(image=IMAGE), key=KEY)

    def is_blocked() -> bool:
        driver.demo.clock.advance(0.5)
        return view_of(driver).is_rollout_blocked

    await driver.wait_for(is_blocked, "the badge")


async def strategy(driver: EditDriver) -> object:
    return (await driver.read(KEY))["spec"]["strategy"]


async def open_dialog(driver: EditDriver, *keys: str) -> EditDialog:
    await driver.press(*keys)

    def is_planned() -> bool:
        screen = driver.app.screen
        return isinstance(screen, EditDialog) and screen.is_plan_shown

    await wait_for(driver.pilot, is_planned, "the plan")
    return driver.dialog


async def test_the_plan_proposes_to_stop_an_old_pod_first(driver: EditDriver) -> None:
    await driver.open(KEY)
    await driver.retype("image", IMAGE)
    dialog = await driver.plan()
    text = driver.text
    assert "No node has room for a new Pod (2 NVIDIA GPU, 8 CPU, 96Gi memory)" in text
    assert f"r Use rollout={WAY_OUT}: an old Pod stops first" in text
    await driver.press("r")
    await driver.wait_for_text(f"Rollout maxSurge 25%, maxUnavailable 25% → {WAY_OUT}")
    await driver.wait_for(lambda: dialog.is_plan_shown, "the plan")
    assert "No node has room" not in driver.text
    await driver.press("enter")  # the cursor is on Back, as Pods restart
    await driver.wait_for(lambda: driver.app.screen is driver.form, "the form")
    assert image_of(await driver.read(KEY)) != IMAGE
    await driver.plan()
    await driver.press("r")
    await driver.wait_for_text("→ maxSurge 0")
    await driver.wait_for(lambda: driver.dialog.is_plan_shown, "the plan")
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    stored = await driver.read(KEY)
    assert image_of(stored) == IMAGE
    assert stored["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 2}


async def test_the_arrows_reach_all_options_of_the_plan(driver: EditDriver) -> None:
    await driver.open(KEY)
    await driver.retype("image", IMAGE)
    dialog = await driver.plan()
    save, back, stop = "▌ y Save Changes", "▌ n Back to the form", "▌ r Use rollout="
    assert back in driver.text
    for key, option in (("down", stop), ("down", save), ("up", stop), ("k", back), ("tab", stop)):
        await driver.press(key)
        await driver.wait_for_text(option)
        assert driver.text.count("▌") == 1
    await driver.press("enter")
    await driver.wait_for_text(f"Rollout maxSurge 25%, maxUnavailable 25% → {WAY_OUT}")
    await driver.wait_for(lambda: dialog.is_plan_shown, "the plan")
    assert "Use rollout" not in driver.text
    assert back in driver.text
    assert driver.changes.save_count == 0


async def test_y_saves_where_the_cursor_is_on_the_other_rollout(driver: EditDriver) -> None:
    await driver.open(KEY)
    await driver.retype("image", IMAGE)
    await driver.plan()
    await driver.press("down")
    await driver.wait_for_text("▌ r Use rollout=")
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    assert image_of(await driver.read(KEY)) == IMAGE
    assert (await strategy(driver)) != {"maxSurge": 0, "maxUnavailable": 2}


async def test_no_key_stops_an_old_pod_first_where_nothing_waits(driver: EditDriver) -> None:
    await driver.open(KEY)
    await driver.retype("description", "x")
    dialog = await driver.plan()
    plan = dialog.plan
    await driver.press("r")
    await driver.wait_for_text("No new Pod is known to wait for an old one.")
    assert dialog.plan is plan


async def test_the_badge_says_what_to_do_and_the_key_does_it(driver: EditDriver) -> None:
    assert "U unblock rollout" not in driver.text
    await block(driver)
    await driver.wait_for_text(BLOCKED_BADGE, "U unblock rollout")  # in the footer
    await driver.press("space")
    await driver.wait_for_text(
        "A new Pod needs 2 NVIDIA GPU, which 2 old Pods of this serving hold",
        f"→ U lets an old Pod stop first: rollout={WAY_OUT}.",
    )
    await open_dialog(driver, "U")
    assert "Unblock the rollout of chat/exaone-40-32b" in driver.text
    assert "The rollout that waits goes on, and 3 old Pods are replaced" in driver.text
    before = await strategy(driver)
    await driver.press("enter")  # the cursor is on Back: a Pod stops
    await driver.wait_for(lambda: driver.app.screen is driver.app.servings, "the list")
    assert await strategy(driver) == before
    await open_dialog(driver, "U")
    await driver.press("y")
    await driver.wait_for_text("The change was saved. u undoes it.")

    def is_updated() -> bool:
        driver.demo.clock.advance(2)
        pods = view_of(driver).pods
        return len(pods) == 3 and not any(one.old_revision for one in pods)

    await driver.wait_for(is_updated, "the new Pods")
    await open_dialog(driver, "u")
    assert f"Rollout {WAY_OUT} → maxSurge 25%, maxUnavailable 25%" in driver.text
    await driver.press("y")
    await driver.wait_for_text("The change was saved.")
    assert await strategy(driver) == before


async def test_the_page_says_it_and_has_the_key(driver: EditDriver) -> None:
    await block(driver)
    await driver.press("enter")
    await driver.wait_for_text(
        "Rollout A new Pod needs 2 NVIDIA GPU",
        "Recovery U lets an old Pod stop first",
        "U unblock rollout",
    )
    await driver.press("7")
    await driver.wait_for_text(f"With rollout='{WAY_OUT}' an old Pod stops first.")
    await open_dialog(driver, "U")
    assert "Unblock the rollout of" in driver.text


async def test_the_key_is_off_where_no_rollout_is_blocked(driver: EditDriver) -> None:
    await driver.press("U")
    await driver.wait_for_text("The old Pods of chat/exaone-40-32b block no rollout.")
    await block(driver)
    driver.app.readonly = True  # as with --readonly
    await driver.press("U")
    await driver.wait_for_text("servedeck runs with --readonly")
