from dataclasses import replace
from fractions import Fraction

import pytest

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.capacity import InsufficientResource
from servedeck.serving.status.status import Status
from tests.tui import fakes
from tests.tui.fake_change_service import FakeChangeService, node_capacity
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.tui.test_log import shown_log

LLAMA = NamespacedName("team-a", "llama-70b-chat")
FIRST_POD = "llama-70b-chat-6b8f-9qk2x"


async def test_space_says_why_with_pods_events_and_the_crashed_containers_last_lines():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(
            pilot,
            "was killed for using more memory than its limit of 80Gi (exit code 137).",
            "0/2 ready  2 failing",
            "Check the failure reason and the logs of the failing Pods.",
            f"1 {FIRST_POD}  CrashLoopBackOff (OOMKilled)  0/1  7 restarts, 2m ago",
            "BackOff ×23  Back-off restarting failed container",
            "RuntimeError: DataLoader worker (pid 412) is killed by signal: Killed.",
        )
        await pilot.press("space")
        assert not app.servings.popover.is_open
        assert app.focused is app.servings.table


async def test_the_status_is_up_to_date_while_open_and_reads_the_lines_of_the_next_crash():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    logs = fakes.crash_log_service()
    app = make_app(source, logs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(pilot, "pid 412")
        logs.lines["team-a", FIRST_POD, fakes.CRASHED_CONTAINER, True] = [
            "second crash: CUDA out of memory"
        ]
        view = source.fleet.view(LLAMA)
        pods = (fakes.crashing_pod(FIRST_POD, restarts=8), *view.pods[1:])
        source.add_views(replace(view, message="It ran out of GPU memory.", pods=pods))
        screen = await wait_for_text(
            pilot, "It ran out of GPU memory.", "8 restarts", "second crash: CUDA out of memory"
        )
        assert "pid 412" not in screen


async def test_no_lines_are_read_again_while_the_container_is_the_same():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    logs = fakes.crash_log_service()
    app = make_app(source, logs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(pilot, "pid 412")
        source.add_views(replace(source.fleet.view(LLAMA), message="Other words."))
        await wait_for_text(pilot, "Other words.", "pid 412")
        assert len(logs.requested_logs) == 1


async def test_lines_that_cannot_be_read_are_explained_in_place():
    logs = fakes.FakeLogService()
    logs.error = ClusterError("You may not get pods/log in namespace team-a.")
    app = make_app(log_service=logs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(
            pilot, "You may not get pods/log in namespace team-a.", "CrashLoopBackOff"
        )


async def test_row_and_column_labels_stay_in_sight_at_every_size_and_place():
    source = fakes.FakeSource().add_views(*fakes.fleet())
    source.add_views(*(fakes.serving(f"more-{number}") for number in range(6)))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "NAME")
        popover, table = app.servings.popover, app.servings.table
        rows = len(source.fleet.views())

        def fits() -> bool:
            area, line = table.row_position(popover.view.key)
            return (
                popover.region.width == area.width
                and popover.region.height >= min(4, area.height // 2)
                and area.contains_region(popover.region)
                and not popover.region.y <= line < popover.region.bottom
                and line in range(area.y, area.bottom)
            )

        for size in ((80, 24), (20, 10), (200, 50), (46, 14)):
            await pilot.resize_terminal(*size)
            for at in (0, rows // 2, rows - 1):
                table.select(table.rows[at].key)
                await pilot.press("space")
                await wait_for(pilot, fits, f"a place beside row {at} at {size}")
                await pilot.press("space")
        await pilot.press("G", "space")
        for size in ((80, 24), (20, 10), (200, 50)):
            await pilot.resize_terminal(*size)
            await wait_for(pilot, fits, f"another place at {size}")


async def test_it_follows_its_row():
    source = fakes.FakeSource().add_views(fakes.serving("a-first"), fakes.serving("b-second"))
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "b-second")
        await pilot.press("space")
        await wait_for_text(pilot, "team-a/a-first  ✓ Ready")
        before = app.servings.popover.region.y
        source.add_views(fakes.serving("a-broken", status=Status.ERROR, ready=0))
        await wait_for(
            pilot, lambda: app.servings.popover.region.y == before + 1, "its place a line lower"
        )


async def test_the_known_error_far_above_the_last_lines_is_named():
    logs = fakes.crash_log_service()
    key = ("team-a", FIRST_POD, fakes.CRASHED_CONTAINER, True)
    logs.lines[key] = [
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        *(f"(APIServer pid=1)   frame {number}" for number in range(120)),
    ]
    app = make_app(fakes.FakeSource().add_views(*fakes.fleet()), logs)
    async with app.run_test(size=(160, 50)) as pilot:
        await pilot.press("j", "space")
        screen = await wait_for_text(
            pilot,
            "inference-server contains no code for this model of GPU",
            "Use an image that is built for the GPU's architecture",
            "frame 119",
        )
        assert "frame 90" not in screen, "the last lines only"


async def test_the_last_lines_are_in_sight_at_80x24_and_before_the_events():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("j", "space")
        screen = await wait_for_text(pilot, "is killed by signal: Killed.", "0/2 ready")
        assert any(line.startswith(" llama-70b-chat") for line in screen.splitlines())
        assert screen.index("signal: Killed.") < screen.index("Back-off restarting")
        await pilot.press("G")
        await wait_for_text(pilot, "2 llama-70b-chat-6b8f-vv7tz")
        await pilot.press("g")
        await wait_for_text(pilot, "0/2 ready")


async def test_a_pods_key_opens_its_log_and_esc_comes_back():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(pilot, FIRST_POD)
        await pilot.press("2")
        await wait_for(pilot, lambda: shown_log(app) is not None, "the log")
        await wait_for_text(pilot, "llama-70b-chat-6b8f-vv7tz", "inference-server")
        await pilot.press("escape")
        assert app.screen is app.servings


async def test_a_pending_serving_says_what_the_scheduler_said():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "j", "j", "space")
        screen = await wait_for_text(
            pilot,
            "4 Insufficient furiosa.ai/rngd",
            "Check cluster resource availability and image settings.",
        )
        assert "Last lines" not in screen


async def test_a_healthy_serving_shows_its_pods():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("slash", *"name:llama-8b", "enter", "space")
        await wait_for_text(pilot, "team-a/llama-8b  ✓ Ready  2/2 ready", "1 llama-8b-7d9c-x2x1q")


async def test_a_click_on_the_status_opens_it_and_the_mouse_shows_it():
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        lines = (await wait_for_text(pilot, "STATUS")).splitlines()
        x = lines[3].index("STATUS")
        y = next(at for at, line in enumerate(lines) if "llama-70b-chat" in line) - 3
        await pilot.hover("#list", offset=(x, y))
        await wait_for_text(pilot, "2 failing")
        assert app.focused is app.servings.table
        await pilot.hover("#list", offset=(x, 30))
        await wait_for(pilot, lambda: not app.servings.popover.is_open, "the status to go")
        await pilot.click("#list", offset=(x, y))
        await wait_for_text(pilot, "2 failing")
        assert app.focused is app.servings.popover


async def test_the_footer_shows_the_keys_of_the_status():
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("space")
        await wait_for_text(pilot, "esc close  1-9 a-z Pod's log")
        await pilot.press("escape")
        await wait_for(pilot, lambda: "space status" in screen_text(app), "the list's keys")


@pytest.mark.parametrize("opens", ["space", "slash"])
async def test_a_click_on_a_hint_of_the_status_or_the_filter_presses_its_key(opens):
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_for_text(pilot, "space status")
        await pilot.press(opens)
        hint = "close" if opens == "space" else "clear"
        screen = await wait_for_text(pilot, f"esc {hint}")
        footer = screen.splitlines()[-1]
        await pilot.click(offset=(footer.index(hint), 39))
        await wait_for_text(pilot, "space status")


async def test_lines_that_could_not_be_read_are_asked_for_again_with_the_next_change():
    logs = fakes.crash_log_service()
    logs.error = ClusterError("The server was slow.")
    source = fakes.FakeSource().add_views(*fakes.fleet())
    app = make_app(source, logs)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(pilot, "The server was slow.")
        logs.error = None
        source.add_views(replace(source.fleet.view(LLAMA), message="Other words."))
        await wait_for_text(pilot, "Other words.", "pid 412")


async def test_a_shortage_names_the_node_with_the_most_free_while_the_status_is_open(tmp_path):
    source = fakes.FakeSource().add_views(*fakes.fleet())
    view = source.fleet.view(NamespacedName("research", "exaone-rngd"))
    short = tuple(
        replace(
            pod, insufficient_resources=(InsufficientResource("nvidia.com/gpu", Fraction(8), 2),)
        )
        for pod in view.pods
    )
    source.add_views(replace(view, pods=short))
    change_service = FakeChangeService(tmp_path)
    around = change_service.inventory
    around.nodes = None
    app = make_app(source, change_service=change_service)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "j", "j", "space")
        screen = await wait_for_text(pilot, "0/6 nodes are available")
        assert "GPU free" not in screen
        around.nodes = [node_capacity("gpu-node-1", 1), node_capacity("gpu-node-2", 0)]
        around.on_change()
        await wait_for_text(pilot, "gpu-node-1 has 1 of 8 NVIDIA GPU free.")
        around.nodes = [node_capacity("gpu-node-1", 1), node_capacity("gpu-node-2", 3)]
        around.on_change()
        await wait_for_text(pilot, "gpu-node-2 has 3 of 8 NVIDIA GPU free.")
        assert not around.closed
        await pilot.press("space")
        await wait_for(pilot, lambda: around.closed, "the nodes to be left alone")


async def test_no_nodes_are_watched_for_what_has_no_shortage(tmp_path):
    change_service = FakeChangeService(tmp_path)
    asked = []
    change_service.watch_inventory = lambda *_, **__: asked.append(1)
    app = make_app(change_service=change_service)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("j", "space")
        await wait_for_text(pilot, "pid 412")
        assert not asked
