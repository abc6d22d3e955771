import gc
import weakref
from dataclasses import replace

import pytest

from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.logs import LogStreamState
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.diagnosis import PodHealth
from tests.tui import fakes
from tests.tui.helpers import make_app, wait_for, wait_for_text
from tui.panes.logs import LogsPane
from tui.screens.serving import ServingScreen

POD = "llama-8b-7d9c-x2x1q"
OTHER_POD = "llama-8b-7d9c-b8k2m"


def healthy_source(**changes) -> fakes.FakeSource:
    return fakes.FakeSource().add_views(fakes.serving("llama-8b", **changes))


def shown_log(app) -> LogsPane | None:
    """The pane with a log, if one is shown."""
    pane = app.screen.active_pane if isinstance(app.screen, ServingScreen) else None
    return pane if isinstance(pane, LogsPane) else None


async def open_log(pilot, app) -> None:
    await pilot.press("l")
    await wait_for(pilot, lambda: shown_log(app) is not None, "the log")


async def test_the_last_lines_then_live_ones():
    logs = fakes.FakeLogService()
    key = ("team-a", POD, fakes.CRASHED_CONTAINER, False)
    logs.lines[key] = [f"line {number}" for number in range(300)]
    app = make_app(healthy_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "line 299", "✓ following  200 lines", POD)
        await logs.queue(key).put(["a new line"])
        await wait_for_text(pilot, "a new line", "201 lines")
        await pilot.press("g")
        await wait_for_text(pilot, "line 100", "paused")
        await pilot.press("G")
        await wait_for_text(pilot, "a new line", "✓ following")


async def test_the_log_is_that_of_the_inference_server_whatever_its_container_is_called():
    logs = fakes.FakeLogService()
    logs.lines["team-a", POD, "server", False] = ["loading the model"]
    containers = (fakes.container("fluent-bit"), fakes.container("server"))
    pod = fakes.pod(POD, containers=containers)
    app = make_app(healthy_source(pods=(pod,), server_container="server"), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "server  ✓ following", "loading the model")


async def test_p_shows_the_previous_instance_and_back():
    logs = fakes.FakeLogService()
    crashed = fakes.crashing_pod(POD)
    logs.lines["team-a", POD, fakes.CRASHED_CONTAINER, True] = ["the last words"]
    logs.lines["team-a", POD, fakes.CRASHED_CONTAINER, False] = ["the next try"]
    app = make_app(healthy_source(pods=(crashed,)), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "the next try")
        await pilot.press("p")
        screen = await wait_for_text(pilot, "the last words", "previous instance", "ended")
        assert "the next try" not in screen
        await pilot.press("p")
        await wait_for_text(pilot, "the next try")


async def test_p_says_why_not_where_nothing_was_restarted():
    app = make_app(healthy_source())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await pilot.press("p")
        await wait_for_text(pilot, "inference-server has not been restarted.")


async def test_the_next_container_and_the_next_pod():
    pod = fakes.pod(POD, containers=(fakes.container(), fakes.container("transformer")))
    logs = fakes.FakeLogService()
    logs.lines["team-a", POD, "transformer", False] = ["from the transformer"]
    logs.lines["team-a", OTHER_POD, fakes.CRASHED_CONTAINER, False] = ["from the other Pod"]
    app = make_app(healthy_source(pods=(pod, fakes.pod(OTHER_POD))), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await pilot.press("o")
        await wait_for_text(pilot, "from the transformer", "transformer")
        await pilot.press("n")
        await wait_for_text(pilot, "from the other Pod", "Pod 2 of 2")


async def test_it_says_what_it_waits_for():
    waiting = fakes.pod(
        POD,
        status="ImagePullBackOff",
        reason="ImagePullBackOff",
        containers=(fakes.container(state="Waiting", ready=False),),
    )
    app = make_app(healthy_source(pods=(waiting,)))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "waiting for the container to start: ImagePullBackOff")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClusterError("You may not get pods/log; ask for it."), "You may not get pods/log; ask"),
        (RuntimeError("[red]unforeseen[/foo]"), "Unexpected RuntimeError: [red]unforeseen[/foo]"),
    ],
    ids=["rejected", "unforeseen"],
)
async def test_an_error_is_one_line_and_the_app_continues(error, words):
    logs = fakes.FakeLogService()
    logs.error = error
    app = make_app(healthy_source(), logs)
    async with app.run_test(size=(100, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, words)
        await pilot.press("q")
        await wait_for_text(pilot, "NAME")


async def test_a_deleted_pod_is_reported():
    source = healthy_source()
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        view = source.fleet.view(NamespacedName("team-a", "llama-8b"))
        source.add_views(replace(view, pods=view.pods[1:]))
        await wait_for_text(pilot, "Pod deleted")


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (LogStreamState.WAITING, "waiting for the container to start"),
        (LogStreamState.RECONNECTING, "reconnecting"),
    ],
)
async def test_it_does_not_say_following_while_no_lines_arrive(stream, words):
    logs = fakes.FakeLogService()
    logs.lines["team-a", POD, fakes.CRASHED_CONTAINER, False] = ["a line"]
    app = make_app(healthy_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "✓ following  1 line")
        logs.on_state(stream)
        screen = await wait_for_text(pilot, f"{words}  1 line")
        assert "following" not in screen
        logs.on_state(LogStreamState.OPEN)
        await wait_for_text(pilot, "✓ following  1 line")
        await logs.queue(("team-a", POD, fakes.CRASHED_CONTAINER, False)).put(None)
        screen = await wait_for_text(pilot, "ended  1 line")
        assert "following" not in screen


async def test_the_heading_is_whole_in_a_narrow_terminal():
    long = "a-serving-with-a-rather-long-name-of-its-own-7d9c5b6f88-x2x1q"
    broken = fakes.pod(long, status="CrashLoopBackOff", restarts=1, health=PodHealth.ERROR)
    app = make_app(healthy_source(pods=(broken, fakes.pod(OTHER_POD))))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "88-x2x1q  CrashLoopBackOff  1 restart  Pod 1 of 2", "  0 lines")


async def test_closed_logs_are_not_kept():
    app = make_app(healthy_source())
    async with app.run_test(size=(80, 24)) as pilot:
        closed = []
        for _ in range(20):
            await open_log(pilot, app)
            log = shown_log(app)
            await wait_for_text(pilot, "0 lines")
            closed += [
                weakref.ref(each) for each in (log, log.log_view, log.log_view._styles_cache)
            ]
            del log
            await pilot.press("q")
            await wait_for(pilot, lambda: app.screen is app.servings, "the list")

        def is_released() -> bool:
            gc.collect()
            # Textual keeps a few of 20: the one that had the focus last, the sender of the last
            # message to the app, and those in the last layout of the hidden page.
            return sum(each() is not None for each in closed) <= 3 * 3

        await wait_for(pilot, is_released, "the closed logs to be released")


def test_the_errors_of_a_cluster_are_explained_by_the_cluster():
    assert issubclass(ApiError, ClusterError)
