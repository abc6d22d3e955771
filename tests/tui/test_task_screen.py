"""The screen of one task of an async queue."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from servedeck.async_queue.body_text import MAX_SHOWN_BYTES, PART_BYTES
from servedeck.async_queue.errors import UnreachableError
from servedeck.async_queue.queue_api import Side
from servedeck.async_queue.tasks import FailureReason, QueueMinute, ResponseView, TaskAction
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tests.tui.task_screen import CHAT, KEY, START, TASK_ID, TaskHarness, TaskState, open_task
from tui.logs.target import LogTarget
from tui.task_view import saving


@pytest.fixture
def harness() -> TaskHarness:
    return TaskHarness()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, harness: TaskHarness) -> list[str]:
    """What was copied."""
    texts: list[str] = []
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    monkeypatch.setattr(harness.app, "write_to_terminal", texts.append)
    return texts


def decoded(text: str) -> str:
    return base64.b64decode(text.split(";")[2].rstrip("\x07")).decode()


async def test_a_completed_task(harness):
    harness.submit()
    harness.fail_once()
    harness.complete()
    async with open_task(harness, "✓ Completed with status 200") as pilot:
        await wait_for_text(
            pilot,
            "2 of 3",
            "31 of the prompt, 120 of the completion, 60.0 tokens/s",
            "User           1f3870be274f6c49",
            "Credentials    submitted with credentials",
        )
        await pilot.press("2")
        await wait_for_text(pilot, "chat-7d9c-x2x1q  503", "The inference server answered 503.")
        await pilot.press("tab")
        await wait_for_text(
            pilot, "x-api-key: [hidden]", "temperature 0.2", "user", "Answer in 한국어, please."
        )
        await pilot.press("4")
        await wait_for_text(
            pilot, "Status 200", "assistant", "모델을 실행해 요청에", "finish reason: stop"
        )
        await pilot.press("v")
        await wait_for_text(pilot, '"id": "chatcmpl-1",', '"content": "모델을')
        await pilot.press("v")
        await wait_for_text(pilot, r'{"id": "chatcmpl-1", "choices"')
        await pilot.press("escape")
        await wait_for(pilot, lambda: harness.results == [None], "the list")


async def test_it_opens_before_anything_is_read(harness):
    harness.submit()
    async with open_task(harness, "◌ Pending") as pilot:
        screen = harness.screen
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await wait_for(pilot, lambda: screen.reader.bodies[Side.REQUEST].text, "the request")
        harness.api.before_answer = lambda: gate
        await pilot.press("escape")
        await wait_for(pilot, lambda: harness.results, "the list")
        harness.app.push_screen(
            type(screen)(
                screen.key,
                screen.live,
                harness.api,
                harness.queue.tasks[TASK_ID],
                create_flow=harness.create_flow,
            )
        )
        await wait_for_text(pilot, "◌ Pending", "POST /v1/chat/completions")
        await pilot.press("3")
        await wait_for_text(pilot, "[3 Request]", "Loading…")
        gate.set_result(None)
        await wait_for_text(pilot, "You answer in one sentence.")


async def test_it_follows_the_task_to_its_end(harness):
    harness.submit()
    async with open_task(harness, "It is the next one; when it starts is not known.") as pilot:
        harness.queue.set_status(blocked_by="No Pod of the inference server is Ready.")
        await wait_for(pilot, lambda: harness.live.status.blocked_by, "the state of the queue")
        await wait_for_text(pilot, "It is the next one; nothing drains now.")
        await pilot.press("4")
        await wait_for_text(pilot, "There is no response yet: the task waits.")
        harness.queue.claim(TASK_ID, "chat-1")
        await wait_for_text(pilot, "↻ Processing", "the task is being processed")
        await pilot.press("2")
        await wait_for_text(pilot, "chat-1  running for 0.0s")
        harness.complete()
        await wait_for_text(pilot, "✓ Completed", "4 Response 200")
        await pilot.press("4")
        await wait_for_text(pilot, "모델을 실행해 요청에")


async def test_the_place_of_a_task_that_waits(harness):
    harness.submit()
    harness.api.details[TASK_ID] = {"position": 30}
    minute = START - START % 60
    harness.queue.set_status(minutes=[QueueMinute(time=minute, completed=30)])
    harness.queue.time = minute + 60.0
    async with open_task(
        harness, "30 tasks are taken before it; it is expected to start in"
    ) as pilot:
        harness.queue.give_back(TASK_ID)
        await wait_for_text(pilot, "Next attempt", "(in 5s)", "The inference server answered 503.")


async def test_why_a_task_failed(harness):
    harness.submit()
    harness.fail_once()
    harness.queue.end(
        TASK_ID,
        TaskState.FAILED,
        reason=FailureReason.EXHAUSTED.value,
        message="[/bold] \x1b[31mThe server answered 500.",
        status=500,
    )
    async with open_task(harness, "✗ Failed with status 500") as pilot:
        await wait_for_text(
            pilot,
            "Reason         The last attempt that was allowed failed.",
            "Message        [/bold] The server answered 500.",
            "deleted at its end: a retry needs others",
        )


async def test_a_task_that_is_deleted_keeps_its_last_state(harness):
    harness.submit()
    harness.complete()
    async with open_task(harness, "120 of the completion") as pilot:
        harness.queue.delete(TASK_ID)
        await wait_for_text(
            pilot, "✓ Completed  deleted", "The task was deleted; its last state is shown."
        )
        assert "120 of the completion" in screen_text(harness.app)
        await pilot.press("n")
        await wait_for_text(pilot, "The task was deleted.")


async def test_a_gateway_that_is_away_is_said_and_asked_again(harness):
    harness.submit()
    async with open_task(harness, "submitted with credentials") as pilot:
        harness.api.failure = UnreachableError("The gateway does not answer.")
        harness.api.cut.set()
        await wait_for_text(pilot, "As of", "The gateway does not answer.")
        harness.api.failure = None
        harness.complete()
        await wait_for_text(pilot, "✓ Completed", "120 of the completion")
        assert "does not answer" not in screen_text(harness.app)


async def test_bodies_that_may_not_be_read_are_withheld_and_the_rest_is_shown(harness):
    harness.submit()
    harness.complete()
    harness.api.may_read_bodies = False
    async with open_task(harness, "120 of the completion") as pilot:
        for key in ("3", "4"):
            await pilot.press(key)
            await wait_for_text(pilot, "The body is not shown:", "needs the admin-key")
        assert "Status 200" in screen_text(harness.app)
        await pilot.press("s")
        await wait_for_text(pilot, "Reading bodies needs the admin-key of the gateway.")
        assert harness.app.screen is harness.screen


async def test_lists_and_objects_are_folded(harness):
    harness.submit()
    async with open_task(harness, "submitted with credentials") as pilot:
        await pilot.press("3", "v")
        await wait_for_text(pilot, '"messages": [', '"role": "system"')
        text = screen_text(harness.app).splitlines()
        row = next(at for at, line in enumerate(text) if '"messages"' in line) - 2
        await pilot.press(*["j"] * row, "enter")
        await wait_for_text(pilot, '+   "messages": [ … 2 entries ]')
        assert '"role": "system"' not in screen_text(harness.app)
        await pilot.press("enter")
        await wait_for_text(pilot, '"role": "system"')
        await pilot.press("j", "j", "z")  # what the line under the cursor is in
        await wait_for_text(pilot, "{ … 2 entries },")
        await pilot.press("Z")
        await wait_for_text(pilot, '+   "messages": [ … 2 entries ]')
        await pilot.press("Z")
        await wait_for_text(pilot, '"role": "system"')


async def test_a_stream_is_joined(harness):
    harness.submit()
    chunks = [
        {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hello "}}]},
        {"choices": [{"index": 0, "delta": {"content": "world"}, "finish_reason": "stop"}]},
    ]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    harness.complete()
    harness.set_bodies(response="".join([*lines, "data: [DONE]\n\n"]).encode())
    harness.api.heads[TASK_ID, Side.RESPONSE] = ResponseView(status=200, is_event_stream=True)
    async with open_task(harness, "120 of the completion") as pilot:
        await pilot.press("4")
        await wait_for_text(pilot, "4 events, joined.", "Reasoning:", "Hm.", "Hello world")
        await pilot.press("v")
        await wait_for_text(pilot, 'data: {"choices"', "data: [DONE]")


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (b"", ["The body is empty."]),
        (b'{"a": ', ["It is not valid JSON", '{"a":']),
        (b'{"a": "\xff"}', ["1 place has bytes that are not valid UTF-8", '"a": "\ufffd"']),
        (b"\x89PNG\0\0\x1b[31m", ["binary", "89 50 4e 47"]),
        (b'{"a": "[bold]x[/bold] \x1b[31mred\x1b]0;t\x07"}', ["[bold]x[/bold] red"]),
    ],
    ids=["empty", "invalid JSON", "invalid UTF-8", "binary", "escapes"],
)
async def test_odd_bodies(harness, body, texts):
    harness.submit()
    harness.complete()
    harness.set_bodies(response=body)
    content_type = "" if body[:1] == b"\x89" else "application/json"
    harness.api.heads[TASK_ID, Side.RESPONSE] = ResponseView(
        status=200, headers=[("content-type", content_type)]
    )
    async with open_task(harness, "120 of the completion") as pilot:
        await pilot.press("4")
        await wait_for_text(pilot, *texts)
        for _ in range(3):
            await pilot.press("v", "z", "Z", "C", "m")
            await pilot.pause()
        assert harness.app.screen is harness.screen


async def test_a_large_body_is_read_by_parts(harness):
    harness.submit()
    harness.complete()
    size = 6 << 20
    harness.set_bodies(response=("".join(f"line {at}\n" for at in range(size // 9))).encode())
    harness.api.heads[TASK_ID, Side.RESPONSE] = ResponseView(
        status=200, headers=[("content-type", "text/plain")]
    )

    def shown() -> int:
        body = harness.screen.reader.bodies[Side.RESPONSE].body
        return len(body.data) if body is not None else 0

    async with open_task(harness, "120 of the completion") as pilot:
        await pilot.press("4")
        await wait_for_text(pilot, "256.0 KiB of", "m shows more", "line 0")
        assert shown() == PART_BYTES
        await pilot.press("m")
        await wait_for_text(pilot, "1.0 MiB of")
        await pilot.press("m")
        await wait_for_text(pilot, "4.0 MiB of", "More than 4.0 MiB is not shown; ctrl+s saves")
        assert shown() == MAX_SHOWN_BYTES
        await pilot.press("m")
        await wait_for_text(pilot, "All that can be shown of the body is shown.")
        await wait_for(pilot, lambda: len(harness.screen.view.document) > 300_000, "all lines")
        await pilot.press("G")
        await wait_for_text(pilot, "line 3587")
        limits = [call[-1] for call in harness.api.calls if call[0] == "read_body"]
        assert max(limits) <= PART_BYTES


async def test_the_log_of_the_pod_at_the_time_of_an_attempt(harness):
    harness.submit()
    harness.fail_once()
    harness.complete()
    began = int((START + 2) * 1e9)
    async with open_task(harness, "120 of the completion") as pilot:
        await pilot.press("2")
        await wait_for_text(pilot, "chat-7d9c-b8k2m")
        await pilot.press("g", "l")
        await wait_for(pilot, lambda: harness.results, "the list")
        assert harness.results == [LogTarget("chat-7d9c-x2x1q", time_ns=began)]


async def test_a_task_without_an_attempt_has_no_log(harness):
    harness.submit()
    async with open_task(harness, "submitted with credentials") as pilot:
        await pilot.press("l")
        await wait_for_text(pilot, "No attempt was made in a Pod.")


# -- copies and files ---------------------------------------------------------------------------


async def test_the_curl_line_the_id_and_a_body_are_copied(harness, written):
    harness.submit()
    async with open_task(harness, "submitted with credentials") as pilot:
        await wait_for(
            pilot, lambda: harness.screen.reader.bodies[Side.REQUEST].text, "the request"
        )
        await pilot.press("c")
        await wait_for_text(pilot, "the curl command. Values that are hidden are not in it.")
        await pilot.press("i", "3", "C")
        await wait_for(pilot, lambda: len(written) == 3, "three copies")
    curl, id, body = map(decoded, written)
    url = f"https://serve.example.com/{KEY.namespace}/{KEY.name}/v1/chat/completions"
    assert curl.splitlines()[0] == f"curl -X POST '{url}' \\"
    assert "-H 'Authorization: Bearer <token>' \\" in curl
    assert "-H 'X-Async: true' \\" in curl
    assert "[hidden]" not in curl
    assert curl.endswith(f"-d '{json.dumps(CHAT)}'")
    assert id == TASK_ID
    assert json.loads(body) == CHAT


async def save(pilot: Any, harness: TaskHarness, path: Path) -> None:
    await pilot.press("4", "s")
    await wait_for_text(pilot, "Save the body of the response")
    harness.app.screen.line_input.input.value = str(path)  # type: ignore[attr-defined]
    await pilot.press("enter")
    await wait_for(pilot, lambda: harness.app.screen is harness.screen, "the task")


async def test_a_body_is_saved_whole_by_parts(harness, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "BYTES_AT_ONCE", 1000)
    harness.submit()
    harness.complete()
    data = bytes(range(256)) * 40
    harness.set_bodies(response=data)
    path = tmp_path / "response.bin"
    async with open_task(harness, "120 of the completion") as pilot:
        await save(pilot, harness, path)
        await wait_for_text(pilot, "Saved the body, 10.0 KiB, as")
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["response.bin"]


async def test_a_file_that_is_cut_off_is_removed(harness, tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "BYTES_AT_ONCE", 1000)
    harness.submit()
    harness.complete()
    harness.set_bodies(response=b"x" * 10_000)
    async with open_task(harness, "120 of the completion") as pilot:
        await wait_for(
            pilot, lambda: harness.screen.reader.bodies[Side.RESPONSE].text, "the response"
        )
        read, plain = len(harness.api.calls), harness.api.read_body

        async def fail_later(*arguments: Any) -> Any:
            if len(harness.api.calls) > read + 3:
                raise UnreachableError("The gateway does not answer.")
            return await plain(*arguments)

        monkeypatch.setattr(harness.api, "read_body", fail_later)
        await save(pilot, harness, tmp_path / "response.txt")
        await wait_for_text(pilot, "was not saved: The gateway does not answer.")
    assert list(tmp_path.iterdir()) == []


async def test_a_body_that_is_being_saved_is_not_left_by_one_key(harness, tmp_path, monkeypatch):
    harness.submit()
    harness.complete()
    harness.set_bodies(response=b"x" * 10_000)
    async with open_task(harness, "120 of the completion") as pilot:
        await wait_for(
            pilot, lambda: harness.screen.reader.bodies[Side.RESPONSE].text, "the response"
        )
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(harness.api, "before_answer", lambda: gate)
        await save(pilot, harness, tmp_path / "response.txt")
        await pilot.press("escape")
        await wait_for_text(pilot, "The body is being saved; press esc again to stop that.")
        await pilot.press("escape")
        await wait_for(pilot, lambda: harness.results == [None], "the end of the screen")
    assert list(tmp_path.iterdir()) == []


# -- actions ------------------------------------------------------------------------------------


async def test_actions_are_run_on_the_task(harness):
    harness.submit()
    async with open_task(harness, "submitted with credentials") as pilot:
        await pilot.press("n")
        await wait_for_text(pilot, "Only failed tasks can be retried; this one is pending.")
        await pilot.press("T", "X", "a")
        flow = harness.flows[0]
        await wait_for(pilot, lambda: flow.tests, "the actions")
        assert flow.started == [
            (TaskAction.FRONT, [TASK_ID]),
            (TaskAction.CANCEL, [TASK_ID]),
        ]
        await flow.run()
        await wait_for_text(pilot, "- Cancelled", "1 changed")
        flow.reason = "servedeck was started read-only."
        await pilot.press("a")
        await wait_for_text(pilot, "servedeck was started read-only.")


async def test_a_cancellation_that_comes_too_late_says_which_won(harness):
    harness.submit()
    harness.queue.claim(TASK_ID)
    async with open_task(harness, "↻ Processing", "submitted with credentials") as pilot:
        await pilot.press("X")
        await wait_for(pilot, lambda: harness.flows, "the dialog")
        harness.complete()
        await harness.flows[0].run()
        await wait_for_text(
            pilot, "0 changed; 1 completed.", "It was not cancelled: it completed at", "before the"
        )


async def test_a_test_request_says_nothing_of_a_cancellation(harness):
    harness.submit()
    harness.queue.claim(TASK_ID)
    async with open_task(harness, "↻ Processing", "submitted with credentials") as pilot:
        await pilot.press("X")
        await wait_for(pilot, lambda: harness.flows, "the dialog")
        harness.complete()
        await pilot.press("a")
        await wait_for(pilot, lambda: harness.flows[0].tests, "the request")
        read = len(harness.api.calls)
        harness.screen.on_action_done("Task 1 was submitted.", "ready")
        await wait_for(pilot, lambda: len(harness.api.calls) > read + 1, "it to be read again")
        await wait_for_text(pilot, "✓ Completed", "Task 1 was submitted.")
        assert "not cancelled" not in screen_text(harness.app)


@pytest.mark.parametrize("change", ["context", "namespace"])
async def test_it_closes_when_another_cluster_or_namespace_is_shown(harness, change):
    """The list of tasks is closed then: the task would be shown as it was, and acted upon there."""
    harness.submit()
    async with open_task(harness, f"Task {TASK_ID}") as pilot:
        source = harness.app.source
        setattr(source, change, "other")
        source.set_state()
        await wait_for(pilot, lambda: harness.results == [None], "the end of the screen")


async def test_next_and_previous_tasks_of_the_list(harness):
    harness.submit()
    later = harness.queue.submit("0199a1b2d", model="other-model")
    async with open_task(harness, f"Task {TASK_ID}") as pilot:
        await pilot.press("right_square_bracket")
        await wait_for_text(pilot, "It is the last task of the list.")
        await pilot.press("3")
        await wait_for_text(pilot, "You answer in one sentence.")
        await pilot.press("left_square_bracket")
        await wait_for_text(pilot, f"Task {later.id}", "[3 Request]", '"model": "llama"')
        await pilot.press("right_square_bracket")
        await wait_for_text(pilot, f"Task {TASK_ID}", "You answer in one sentence.")
        harness.queue.claim(TASK_ID)
        await wait_for_text(pilot, "↻ Processing")


@pytest.mark.parametrize("size", [(80, 24), (20, 10), (20, 4), (200, 60)])
async def test_it_fits_any_terminal(harness, size):
    harness.submit()
    harness.fail_once()
    harness.complete()
    async with open_task(harness, size=size) as pilot:
        for key in ("1", "2", "3", "v", "4", "G"):
            await pilot.press(key)
            for other in ((10, 3), (300, 80), size):
                await pilot.resize_terminal(*other)
        await wait_for(
            pilot, lambda: harness.screen.reader.bodies[Side.RESPONSE].text, "the response"
        )
        width = harness.screen.view.inner_width
        document = harness.screen.view.document
        assert len(document) > 5 or width < 10
