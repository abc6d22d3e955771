import gc
import weakref
from dataclasses import replace

import pytest

from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.logs import Stream
from servedeck.fleet.views import Key
from servedeck.serving.status.diagnosis import Health
from tests.tui import fakes
from tests.tui.helpers import make_app, shows, wait_for
from tui.screens.log import LogScreen

POD = "llama-8b-7d9c-x2x1q"
OTHER = "llama-8b-7d9c-b8k2m"


def healthy(**changes) -> fakes.FakeSource:
    return fakes.FakeSource().put(fakes.serving("llama-8b", **changes))


async def opened(pilot, app) -> None:
    await pilot.press("l")
    await wait_for(pilot, lambda: isinstance(app.screen, LogScreen), "the log")


async def test_the_last_lines_then_live_ones():
    logs = fakes.FakeCluster()
    key = ("team-a", POD, fakes.CRASHED, False)
    logs.lines[key] = [f"line {number}" for number in range(300)]
    app = make_app(healthy(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await shows(pilot, "line 299", "✓ following  200 lines", POD)
        await logs.queue(key).put(["a new line"])
        await shows(pilot, "a new line", "201 lines")
        await pilot.press("g")
        await shows(pilot, "line 100", "holding")
        await pilot.press("G")
        await shows(pilot, "a new line", "✓ following")


async def test_p_shows_the_previous_instance_and_back():
    logs = fakes.FakeCluster()
    crashed = fakes.crashing_pod(POD)
    logs.lines["team-a", POD, fakes.CRASHED, True] = ["the last words"]
    logs.lines["team-a", POD, fakes.CRASHED, False] = ["the next try"]
    app = make_app(healthy(pods=(crashed,)), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await shows(pilot, "the next try")
        await pilot.press("p")
        screen = await shows(pilot, "the last words", "previous instance", "ended")
        assert "the next try" not in screen
        await pilot.press("p")
        await shows(pilot, "the next try")


async def test_p_says_why_not_where_nothing_was_restarted():
    app = make_app(healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.press("p")
        await shows(pilot, "inference-server has not been restarted.")


async def test_the_next_container_and_the_next_pod():
    pod = fakes.pod(POD, containers=(fakes.container(), fakes.container("transformer")))
    logs = fakes.FakeCluster()
    logs.lines["team-a", POD, "transformer", False] = ["from the transformer"]
    logs.lines["team-a", OTHER, fakes.CRASHED, False] = ["from the other Pod"]
    app = make_app(healthy(pods=(pod, fakes.pod(OTHER))), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await pilot.press("right_square_bracket")
        await shows(pilot, "from the transformer", "transformer")
        await pilot.press("n")
        await shows(pilot, "from the other Pod", "Pod 2 of 2")


async def test_it_says_what_it_waits_for():
    waiting = fakes.pod(
        POD,
        status="ImagePullBackOff",
        reason="ImagePullBackOff",
        containers=(fakes.container(state="Waiting", ready=False),),
    )
    app = make_app(healthy(pods=(waiting,)))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await shows(pilot, "waiting for the container to start: ImagePullBackOff")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ClusterError("You may not get pods/log; ask for it."), "You may not get pods/log; ask"),
        (RuntimeError("[red]unforeseen[/foo]"), "Unexpected RuntimeError: [red]unforeseen[/foo]"),
    ],
    ids=["refused", "unforeseen"],
)
async def test_an_error_is_a_sentence_and_the_app_goes_on(error, words):
    logs = fakes.FakeCluster()
    logs.error = error
    app = make_app(healthy(), logs)
    async with app.run_test(size=(100, 24)) as pilot:
        await opened(pilot, app)
        await shows(pilot, words)
        await pilot.press("q")
        await shows(pilot, "NAME")


async def test_a_pod_that_goes_is_said_to_be_gone():
    source = healthy()
    app = make_app(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        view = source.fleet.view(Key("team-a", "llama-8b"))
        source.put(replace(view, pods=view.pods[1:]))
        await shows(pilot, "the Pod is gone")


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (Stream.WAITING, "waiting for the container to start"),
        (Stream.RECONNECTING, "reconnecting"),
    ],
)
async def test_it_does_not_say_following_while_no_lines_arrive(stream, words):
    logs = fakes.FakeCluster()
    logs.lines["team-a", POD, fakes.CRASHED, False] = ["a line"]
    app = make_app(healthy(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await shows(pilot, "✓ following  1 line")
        logs.on_stream(stream)
        screen = await shows(pilot, f"{words}  1 line")
        assert "following" not in screen
        logs.on_stream(Stream.OPEN)
        await shows(pilot, "✓ following  1 line")
        await logs.queue(("team-a", POD, fakes.CRASHED, False)).put(None)
        screen = await shows(pilot, "ended  1 line")
        assert "following" not in screen


async def test_the_heading_is_whole_in_a_narrow_terminal():
    long = "a-serving-with-a-rather-long-name-of-its-own-7d9c5b6f88-x2x1q"
    broken = fakes.pod(long, status="CrashLoopBackOff", restarts=1, health=Health.ERROR)
    app = make_app(healthy(pods=(broken, fakes.pod(OTHER))))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, app)
        await shows(pilot, "88-x2x1q  CrashLoopBackOff  1 restart  Pod 1 of 2", "  0 lines")


async def test_closed_logs_are_not_kept():
    app = make_app(healthy())
    async with app.run_test(size=(80, 24)) as pilot:
        closed = []
        for _ in range(20):
            await opened(pilot, app)
            log = app.screen
            await shows(pilot, "0 lines")
            closed += [
                weakref.ref(each) for each in (log, log.log_view, log.log_view._styles_cache)
            ]
            del log
            await pilot.press("q")
            await wait_for(pilot, lambda: app.screen is app.servings, "the list")

        def let_go() -> bool:
            gc.collect()
            # Textual remembers the widget that had the focus last until the next one has it
            return sum(each() is not None for each in closed) <= 3

        await wait_for(pilot, let_go, "the closed logs to be let go")


def test_the_errors_of_a_cluster_are_explained_by_the_cluster():
    assert issubclass(ApiError, ClusterError)
