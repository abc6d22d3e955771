"""The tab Logs: what is chosen, read, found and taken away."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from servedeck.cluster.http.errors import ClusterError
from servedeck.fleet.views import NamespacedName
from servedeck.serving.status.diagnosis import PodHealth
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tui.app import InitialPage, ServedeckApp
from tui.logs.find import parse_time
from tui.logs.target import LogTarget
from tui.panes.logs import LogsPane
from tui.screens.serving import ServingScreen

POD = "llama-8b-7d9c-x2x1q"
OTHER_POD = "llama-8b-7d9c-b8k2m"
CONTAINER = fakes.CRASHED_CONTAINER
TRACEBACK = [
    "INFO 11-23 03:00:01 [core.py:93] started",
    "ERROR 11-23 03:00:02 [core.py:700] the engine died",
    "Traceback (most recent call last):",
    '  File "core.py", line 1, in run',
    "ValueError: no engine",
    "INFO 11-23 03:00:03 [core.py:94] stopped",
]


def healthy_source(**changes: Any) -> fakes.FakeSource:
    return fakes.FakeSource().add_views(fakes.serving("llama-8b", **changes))


def one_pod_source(*containers: str) -> fakes.FakeSource:
    each = tuple(map(fakes.container, containers or (CONTAINER,)))
    return healthy_source(pods=(fakes.pod(POD, containers=each),))


def log_of(*lines: str, pod: str = POD, container: str = CONTAINER) -> fakes.FakeLogService:
    logs = fakes.FakeLogService()
    logs.lines["team-a", pod, container, False] = list(lines)
    return logs


def shown_log(app: ServedeckApp) -> LogsPane | None:
    """The pane with a log, if one is shown."""
    pane = app.screen.active_pane if isinstance(app.screen, ServingScreen) else None
    return pane if isinstance(pane, LogsPane) else None


async def open_log(pilot: Pilot[Any], app: ServedeckApp) -> LogsPane:
    await pilot.press("l")
    await wait_for(pilot, lambda: shown_log(app) is not None, "the log")
    pane = shown_log(app)
    assert pane is not None
    return pane


# -- which logs -------------------------------------------------------------------------------


async def test_the_last_lines_then_live_ones() -> None:
    logs = log_of(*(f"line {number}" for number in range(300)))
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "line 299", "✓ following  200 lines", POD)
        await logs.queue(("team-a", POD, CONTAINER, False)).put(["a new line"])
        await wait_for_text(pilot, "a new line", "201 lines")
        await pilot.press("g")
        await wait_for_text(pilot, "line 100", "paused, 0 new")
        await logs.queue(("team-a", POD, CONTAINER, False)).put(["another line"])
        await wait_for_text(pilot, "line 100", "paused, 1 new", "202 lines")
        await pilot.press("G")
        await wait_for_text(pilot, "another line", "✓ following")


async def test_the_pods_of_a_serving_are_merged_and_told_apart() -> None:
    logs = log_of("from one")
    logs.lines["team-a", OTHER_POD, CONTAINER, False] = ["from the other"]
    app = make_app(healthy_source(pods=(fakes.pod(POD), fakes.pod(OTHER_POD))), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "x2x1q from one", "b8k2m from the other", "2 Pods")
        await pilot.press("i")
        await wait_for_text(pilot, "Logs of Pods", "All Pods")
        await pilot.press(*OTHER_POD[-5:], "enter")
        screen = await wait_for_text(pilot, f"{OTHER_POD}  Running  1 of 2 Pods", "from the other")
        assert "from one" not in screen
        await pilot.press("i", "tab", "down", "tab", "enter")


async def test_several_pods_are_marked_in_the_picker() -> None:
    names = [f"llama-8b-7d9c-{letter * 5}" for letter in "abc"]
    logs = fakes.FakeLogService()
    app = make_app(healthy_source(pods=tuple(map(fakes.pod, names))), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "3 Pods")
        await pilot.press("i", "down", "tab", "down", "tab", "enter")
        await wait_for_text(pilot, "2 Pods of 3")
        assert logs.opened[-1].selection is not None
        assert logs.opened[-1].selection.pods == frozenset(names[:2])


async def test_a_new_pod_joins() -> None:
    source, logs = one_pod_source(), log_of("from one")
    app = make_app(source, logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "from one")
        logs.lines["team-a", OTHER_POD, CONTAINER, False] = ["from the new one"]
        view = source.fleet.view(NamespacedName("team-a", "llama-8b"))
        assert view is not None
        source.add_views(replace(view, pods=(*view.pods, fakes.pod(OTHER_POD))))
        await wait_for_text(pilot, "x2x1q from one", "b8k2m from the new one")


async def test_the_log_is_that_of_the_inference_server_whatever_its_container_is_called() -> None:
    logs = log_of("loading the model", container="server")
    containers = (fakes.container("fluent-bit"), fakes.container("server"))
    pod = fakes.pod(POD, containers=containers)
    app = make_app(healthy_source(pods=(pod,), server_container="server"), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "server", "✓ following", "loading the model")


async def test_the_next_container_and_all_of_them() -> None:
    logs = log_of("from the server")
    logs.lines["team-a", POD, "transformer", False] = ["from the transformer"]
    app = make_app(one_pod_source(CONTAINER, "transformer"), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "from the server")
        await pilot.press("o")
        screen = await wait_for_text(pilot, "from the transformer")
        assert "from the server" not in screen
        await pilot.press("o")
        await wait_for_text(
            pilot, "all containers", "transformer      from the", f"{CONTAINER} from the server"
        )


async def test_p_adds_the_previous_instance_and_back() -> None:
    logs = log_of("the next try")
    logs.lines["team-a", POD, CONTAINER, True] = ["the last words"]
    app = make_app(healthy_source(pods=(fakes.crashing_pod(POD),)), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "the next try")
        await pilot.press("p")
        await wait_for_text(pilot, "the last words", "+ previous", "the next try")
        await pilot.press("p")
        await wait_for(pilot, lambda: "the last words" not in screen_text(app), "the log alone")


async def test_p_says_why_not_where_nothing_was_restarted() -> None:
    app = make_app(healthy_source())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await pilot.press("p")
        await wait_for_text(pilot, "inference-server has not been restarted.")


async def test_how_far_back_it_begins() -> None:
    logs = log_of(*(f"line {number}" for number in range(300)))
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "200 lines")
        await pilot.press("h", *"all", "enter")
        await wait_for_text(pilot, "300 lines", "from the start")
        await pilot.press("h", *"15m", "enter")
        await wait_for_text(pilot, "since 15m")
        assert logs.opened[-1].since.seconds == 900


# -- what it says -----------------------------------------------------------------------------


async def test_it_says_what_it_waits_for() -> None:
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
async def test_an_error_is_one_line_and_the_app_continues(error: Exception, words: str) -> None:
    logs = fakes.FakeLogService()
    logs.error = error
    app = make_app(healthy_source(), logs)
    async with app.run_test(size=(100, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, words)
        await pilot.press("q")
        await wait_for_text(pilot, "NAME")


async def test_a_deleted_pod_is_reported() -> None:
    source = healthy_source(pods=(fakes.crashing_pod(POD), fakes.pod(OTHER_POD)))
    app = make_app(source)
    async with app.run_test(size=(100, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, POD)
        view = source.fleet.view(NamespacedName("team-a", "llama-8b"))
        assert view is not None
        source.add_views(replace(view, pods=view.pods[1:]))
        await wait_for_text(pilot, "Pod deleted")


async def test_it_does_not_say_following_while_no_lines_arrive() -> None:
    logs = log_of("a line")
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "✓ following  1 line")
        streams = logs.opened[-1]
        streams.set_state(open=0, reconnecting={POD: "the connection was lost"})
        screen = await wait_for_text(pilot, "reconnecting: the connection was lost  1 line")
        assert "following" not in screen
        streams.set_state(open=1, reconnecting={})
        await wait_for_text(pilot, "✓ following  1 line")
        streams.set_state(open=0, queued=68, wanted=80)
        await wait_for_text(pilot, "0 of 80 streams")
        await logs.queue(("team-a", POD, CONTAINER, False)).put(None)
        screen = await wait_for_text(pilot, "ended")
        assert "following" not in screen


async def test_the_heading_is_whole_in_a_narrow_terminal() -> None:
    long = "a-serving-with-a-rather-long-name-of-its-own-7d9c5b6f88-x2x1q"
    broken = fakes.pod(long, status="CrashLoopBackOff", restarts=1, health=PodHealth.ERROR)
    app = make_app(healthy_source(pods=(broken, fakes.pod(OTHER_POD))))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await pilot.press("i", *"x2x1q", "enter")
        await wait_for_text(pilot, "CrashLoopBackOff  1 restart  1 of 2 Pods", "x2x1q", "0 lines")


# -- finding ----------------------------------------------------------------------------------


async def test_a_search_goes_from_hit_to_hit_over_the_whole_log() -> None:
    logs = log_of(*(f"line {number}" for number in range(200)))
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "200 lines")
        await pilot.press("slash", *"line 1?5$")
        await wait_for_text(pilot, "/line 1?5$  2 of 2")
        assert pane.log_view.cursor == 15
        await pilot.press("enter", "n")
        assert pane.log_view.cursor == 5
        await pilot.press("N")
        assert pane.log_view.cursor == 15
        await logs.queue(("team-a", POD, CONTAINER, False)).put(["line 5"])
        await wait_for_text(pilot, "2 of 3")
        await pilot.press("escape")
        await wait_for(pilot, lambda: "/line" not in screen_text(app), "no search")
        assert pane.log_view.cursor == 15


async def test_what_is_wrong_with_a_search_is_said_and_nothing_typed_is_lost() -> None:
    app = make_app(one_pod_source(), log_of("a line"))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await pilot.press("slash", *"(a", "enter")
        await wait_for_text(pilot, "The regular expression is not valid", "(a")
        await pilot.press(*" line)", "enter")
        await wait_for_text(pilot, "/(a line)  1 of 1")


async def test_a_filter_keeps_records_together_and_the_place() -> None:
    logs = log_of(*(f"INFO: line {number}" for number in range(100)), *TRACEBACK)
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "106 lines")
        await pilot.press("ampersand", *"no engine", "enter")
        screen = await wait_for_text(pilot, "ValueError: no engine", "Traceback (most recent")
        assert "INFO: line" not in screen
        await pilot.press("e")
        await wait_for(pilot, lambda: pane.log_view.cursor is not None, "the error")
        at = pane.log_view.cursor
        await pilot.press("escape")
        await wait_for_text(pilot, "INFO: line 99")
        assert pane.log_view.cursor == at


async def test_the_place_is_kept_while_a_long_log_is_filtered() -> None:
    logs = log_of(*(f"line {number}" for number in range(60_000)))
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await open_log(pilot, app)
        await pilot.press("h", *"all", "enter")
        await wait_for_text(pilot, "60,000 lines")
        pane.log_view.go_to(50_007)
        await pilot.press("ampersand", *"7$", "enter")
        await wait_for_text(pilot, "6,000 shown")
        await wait_for(pilot, lambda: pane.log_view.cursor == 50_007, "the place")
        await pilot.press("escape")
        await wait_for(pilot, lambda: pane.log_view.cursor == 50_007, "the place without it")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("!health", ["GET /v1/models 200", '{"level": "error", "status": 503}']),
        ("GET & !health", ["GET /v1/models 200"]),
        (".status>=500", ['{"level": "error", "status": 503}']),
    ],
)
async def test_the_terms_of_a_filter(typed: str, shown: list[str]) -> None:
    lines = ["GET /health 200", "GET /v1/models 200", '{"level": "error", "status": 503}']
    app = make_app(one_pod_source(), log_of(*lines))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "3 lines")
        await pilot.press("ampersand", *typed, "enter")
        screen = await wait_for_text(pilot, f"{len(shown)} shown", *shown)
        assert [line for line in lines if line in screen] == [
            line for line in lines if line in shown
        ]


async def test_the_next_error_and_the_one_before() -> None:
    logs = log_of(*TRACEBACK, *(f"INFO: line {number}" for number in range(100)), *TRACEBACK)
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "112 lines")
        await pilot.press("g", "e")
        await wait_for(pilot, lambda: pane.log_view.cursor == 1, "the first error")
        await pilot.press("e")
        await wait_for(pilot, lambda: pane.log_view.cursor == 107, "the second error")
        await pilot.press("e")
        await wait_for_text(pilot, "No error below.")
        await pilot.press("E")
        await wait_for(pilot, lambda: pane.log_view.cursor == 1, "the first error again")


async def test_the_log_of_a_crashed_pod_opens_at_its_first_error() -> None:
    logs = log_of(
        *(f"INFO: line {number}" for number in range(100)),
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total"
        " capacity of 79.15 GiB of which 1.06 GiB is free.",
        *(f"INFO: later line {number}" for number in range(50)),
    )
    app = make_app(healthy_source(pods=(fakes.crashing_pod(POD),)), logs)
    async with app.run_test(size=(100, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for(pilot, lambda: pane.log_view.cursor == 100, "the error")
        await wait_for_text(
            pilot, f"✗ {CONTAINER} ran out of GPU memory", "--gpu-memory-utilization"
        )
        assert "torch.OutOfMemoryError" in screen_text(app).split("Lower")[-1], "it is in view"


@pytest.mark.parametrize("width", [80, 24])
async def test_the_histogram_and_moving_along_it(width: int) -> None:
    logs = log_of(*(f"INFO: line {number}" for number in range(100)), *TRACEBACK)
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(width, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "106 lines")
        await pilot.press("H")
        await wait_for_text(pilot, "█", "E", "▲")
        await pilot.press("comma", "comma")
        assert pane.log_view.cursor is not None
        earlier = pane.log_view.cursor
        await pilot.press("full_stop")
        assert pane.log_view.cursor > earlier
        await pilot.press("H")
        await wait_for(pilot, lambda: "▲" not in screen_text(app), "no histogram")


async def test_a_time_is_gone_to() -> None:
    logs = log_of(*(f"line {number}" for number in range(200)))
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "200 lines")
        await pilot.press("at", *"nonsense", "enter")
        await wait_for_text(pilot, "Enter a time such as 14:05", "nonsense")
        await pilot.press("ctrl+u")
        first = fakes.NOW.timestamp() - 999
        assert first  # the lines are a second apart, the first one 999 s before now
        await pilot.press(*"02:45 UTC", "enter")
        await wait_for(pilot, lambda: pane.log_view.cursor == 99, "the line of 02:45")


async def test_times_fields_and_marks() -> None:
    line = '{"level": "error", "msg": "it broke", "code": 7}'
    app = make_app(one_pod_source(), log_of(line, "another line"))
    async with app.run_test(size=(100, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "another line")
        await pilot.press("T", "T")
        await wait_for_text(pilot, "11-23 02:43:21.000 {", "Times of lines: UTC.")
        await pilot.press("T")
        await wait_for_text(pilot, "16m")
        await pilot.press("v")
        await wait_for_text(pilot, "it broke", "code=7")
        await pilot.press("g", "m", "G", "M")
        await wait_for(pilot, lambda: pane.log_view.cursor == 0, "the mark")
        await wait_for_text(pilot, "◆")


async def test_repeated_lines_are_folded_and_a_hit_among_them_is_found() -> None:
    lines = [f"GET /health 200 in {number} ms" for number in range(50)]
    app = make_app(one_pod_source(), log_of("started", *lines, "stopped"))
    async with app.run_test(size=(80, 24)) as pilot:
        pane = await open_log(pilot, app)
        await wait_for_text(pilot, "52 lines")
        await pilot.press("z")
        await wait_for_text(pilot, "started", "×50 GET /health 200 in 0 ms", "stopped")
        await pilot.press("slash", *"in 30", "enter")
        await wait_for(pilot, lambda: pane.log_view.cursor == 1, "the line that stands for it")
        await pilot.press("z")
        await wait_for_text(pilot, "GET /health 200 in 10 ms")
        assert "×50" not in screen_text(app)


NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("11:30 UTC", NOON - timedelta(minutes=30)),
        ("11:30:15Z", NOON - timedelta(minutes=29, seconds=45)),
        ("13:00 utc", NOON - timedelta(hours=23)),  # still to come today
        ("2026-01-31 14:05:30 UTC", datetime(2026, 1, 31, 14, 5, 30, tzinfo=UTC)),
        ("-5m", NOON - timedelta(minutes=5)),
        ("-2d", NOON - timedelta(days=2)),
        ("25:00", None),
        ("2026-02-30 10:00", None),
        ("noon", None),
        ("-" + "9" * 5000 + "m", None),
        ("-99999999999d", None),
        ("", None),
    ],
)
def test_the_times_that_may_be_typed(typed: str, expected: datetime | None) -> None:
    assert parse_time(typed, NOON) == expected


# -- taking away ------------------------------------------------------------------------------


async def test_the_whole_log_is_saved_with_its_times(tmp_path: Path) -> None:
    logs = log_of(*(f"line {number}" for number in range(100)), "\x1b[31mred\x1b[0m")
    app = make_app(one_pod_source(), logs)
    async with app.run_test(size=(100, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "101 lines")
        path = tmp_path / "x.log"
        await pilot.press("ctrl+s")
        await wait_for_text(pilot, "Save the log of llama-8b", "101 lines as they were written")
        await pilot.press("ctrl+u", *str(path), "enter")
        await wait_for_text(pilot, "Saved 101 lines as")
    saved = path.read_bytes().splitlines()
    assert saved[0] == b"2026-11-23T02:43:21.000000000Z line 0"
    assert saved[-1].endswith(b" \x1b[31mred\x1b[0m")
    assert path.stat().st_mode & 0o777 == 0o600


async def test_selected_lines_are_copied_as_they_are_shown() -> None:
    copied: list[str] = []
    app = make_app(one_pod_source(), log_of("one", "\x1b[31mtwo\x1b[0m", "three"))
    app.write_to_terminal = copied.append  # type: ignore[method-assign]
    async with app.run_test(size=(100, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "three")
        await pilot.press("g", "V", "j", "C")
        await wait_for_text(pilot, "Copied", "2 lines")
    assert len(copied) == 1
    assert "b25lCnR3bw==" in copied[0]  # "one\ntwo" in base64


async def test_more_than_a_terminal_takes_is_not_copied() -> None:
    app = make_app(one_pod_source(), log_of(*("x" * 1000 for _ in range(190))))
    async with app.run_test(size=(100, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "190 lines")
        await pilot.press("g", "V", "G", "C")
        await wait_for_text(pilot, "The text is too long to copy", "ctrl+s saves the log.")


async def test_a_link_leads_to_the_line() -> None:
    copied: list[str] = []
    logs = log_of(*(f"line {number}" for number in range(100)))
    app = make_app(one_pod_source(), logs)
    app.write_to_terminal = copied.append  # type: ignore[method-assign]
    async with app.run_test(size=(200, 24)) as pilot:
        await open_log(pilot, app)
        await wait_for_text(pilot, "100 lines")
        await pilot.press("k", "Y")
        await wait_for_text(
            pilot, f"--tab logs --pod {POD} --container {CONTAINER} --time 2026-11-23T02:44:59.0000"
        )
    assert copied


async def test_a_link_opens_the_log_at_its_line() -> None:
    logs = log_of(*(f"line {number}" for number in range(100)))
    time_ns = int((fakes.NOW.timestamp() - 940.5) * 1e9)
    page = InitialPage("llama-8b", "team-a", "logs", log=LogTarget(POD, CONTAINER, time_ns))
    app = make_app(one_pod_source(), logs, initial_page=page)
    async with app.run_test(size=(100, 24)) as pilot:
        await wait_for(pilot, lambda: shown_log(app) is not None, "the log")
        pane = shown_log(app)
        assert pane is not None
        await wait_for(pilot, lambda: pane.log_view.cursor == 59, "the line")
        await wait_for_text(pilot, "line 59", "since 1h")


async def test_closed_logs_are_not_kept() -> None:
    app = make_app(healthy_source())
    async with app.run_test(size=(80, 24)) as pilot:
        closed = []
        for _ in range(20):
            log: LogsPane | None = await open_log(pilot, app)
            assert log is not None
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
