"""`servedeck tasks`: lists and prints tasks."""

from __future__ import annotations

import json

import pytest

from servedeck.async_queue.errors import NoSuchTaskError, NotPermittedError
from servedeck.async_queue.queue_api import Side, TaskQuery
from servedeck.async_queue.tasks import (
    Attempt,
    FailureReason,
    RequestView,
    ResponseView,
    TaskState,
)
from servedeck.commands.tasks import (
    print_task,
    write_body,
)
from tests.commands.tasks_rig import HOSTILE, Output, Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()


# -- list -----------------------------------------------------------------------------------------


async def test_tasks_are_printed_as_a_table(rig: Rig) -> None:
    queue = rig.queue
    failed = queue.submit(path="/v1/embeddings", owner="5e88")
    queue.claim(failed.id)
    queue.end(failed.id, TaskState.FAILED, message="Too busy.", status=503)
    done = queue.submit()
    queue.claim(done.id)
    queue.time += 299
    queue.end(done.id, prompt_tokens=12, completion_tokens=340)
    waiting = queue.submit(model=HOSTILE)
    queue.time += 3599
    await rig.list()
    header, *rows = rig.out.lines
    assert header.split() == (
        ["ID", "STATE", "METHOD", "PATH", "MODEL", "ATTEMPTS", "WAITED", "RAN", "TOKENS", "AGE"]
    )
    assert [one.split()[0] for one in rows] == [waiting.id, done.id, failed.id]
    path = "/v1/chat/completions"
    assert rows[0].split()[1:] == (
        ["pending", "POST", path, "[red]evil", "0/3", "59m", "<none>", "<none>", "59m"]
    )
    assert rows[1].split()[1:] == (
        ["completed", "POST", path, "llama", "1/3", "1.0s", "5m", "12+340", "65m"]
    )
    assert "\x1b" not in rig.out.getvalue()
    assert rig.err.lines == ["servedeck: chat/llama: 1 pending, 0 processing"]
    rig.out.clear()
    await rig.list(TaskQuery(TaskState.FAILED), output="wide", show_headers=False)
    [row] = rig.out.lines
    assert row.split()[-5:] == ["503", "5e88", "llama-0", "Too", "busy."]


async def test_the_limit_and_the_order(rig: Rig) -> None:
    ids = [rig.queue.submit().id for _ in range(5)]
    await rig.list(limit=2, show_headers=False)
    assert [one.split()[0] for one in rig.out.lines] == ids[:2:-1]
    assert rig.err.lines[-1] == (
        "servedeck: 2 tasks shown, and there may be more; --limit 0 shows all."
    )
    rig.out.clear()
    rig.err.clear()
    await rig.list(limit=0, show_headers=False, oldest_first=True)
    assert [one.split()[0] for one in rig.out.lines] == ids
    assert len(rig.err.lines) == 1


async def test_more_tasks_than_one_page_has(rig: Rig) -> None:
    ids = [rig.queue.submit().id for _ in range(1200)]
    await rig.list(limit=0, oldest_first=True)
    assert [one.split()[0] for one in rig.out.lines[1:]] == ids
    limits = [one[3] for one in rig.fake.calls if one[0] == "list_tasks"]
    assert limits == [500, 500, 500]
    rig.fake.calls.clear()
    await rig.list(limit=700)
    assert [one[3] for one in rig.fake.calls if one[0] == "list_tasks"] == [500, 200]


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_the_json_of_a_list(rig: Rig, count: int) -> None:
    ids = [rig.queue.submit(message=HOSTILE).id for _ in range(count)]
    await rig.list(output="json")
    whole = json.loads(rig.out.getvalue())
    assert (whole["kind"], whole["serving"]) == ("TaskList", "chat/llama")
    assert whole["queue"]["counts"]["pending"] == count
    assert [one["id"] for one in whole["items"]] == ids[::-1]
    assert all(one["message"] == "[red]evil" for one in whole["items"])
    assert all(one["created"].endswith("Z") and one["ended"] is None for one in whole["items"])


async def test_why_nothing_drains_is_told(rig: Rig) -> None:
    rig.queue.set_status(blocked_by=f"The queue is paused.{HOSTILE}", concurrency=4)
    await rig.list()
    assert rig.err.lines == [
        "servedeck: chat/llama: 0 pending, 0 of 4 processing; The queue is paused.[red]evil",
        "No tasks found in chat/llama.",
    ]


# -- get ------------------------------------------------------------------------------------------


def failed_task(rig: Rig) -> str:
    queue = rig.queue
    id = queue.submit(path=f"/v1/chat{HOSTILE}").id
    queue.claim(id)
    queue.time += 4
    queue.end(id, TaskState.FAILED, status=503, reason=FailureReason.EXHAUSTED, message="Busy.")
    task = queue.tasks[id]
    assert task.started is not None and task.ended is not None
    attempt = Attempt(
        attempt=1, pod="llama-0", began=task.started, ended=task.ended, status=503, message=HOSTILE
    )
    rig.fake.attempts_of[id] = [attempt]
    rig.fake.heads[id, Side.REQUEST] = RequestView(
        path=task.path, headers=[("x-trace", HOSTILE), ("cookie", "[hidden]")]
    )
    rig.fake.heads[id, Side.RESPONSE] = ResponseView(status=503, headers=[("x-pod", "a")])
    return id


async def test_a_task_is_printed(rig: Rig) -> None:
    id = failed_task(rig)
    await print_task(rig.api, id, "text", rig.out)
    lines = rig.out.lines
    assert lines[0] == f"{id}: failed (exhausted)"
    for line in (
        "  message: Busy.",
        "  attempts: 1 of 3",
        "  waited 1.0s, ran 5.0s, total 6.0s",
        "  response: status 503, 0 B",
    ):
        assert line in lines
    text = rig.out.getvalue()
    assert "request: POST /v1/chat[red]evil, model llama, 100 B" in text
    assert "on llama-0, status 503, [red]evil" in text
    assert "x-trace: [red]evil" in text and "cookie: [hidden]" in text
    assert "\x1b" not in text


async def test_the_json_of_a_task(rig: Rig) -> None:
    id = failed_task(rig)
    await print_task(rig.api, id, "json", rig.out)
    found = json.loads(rig.out.getvalue())
    assert (found["kind"], found["id"], found["state"]) == ("Task", id, "failed")
    assert (found["waitedSeconds"], found["ranSeconds"]) == (1.0, 5.0)
    assert found["madeAttempts"][0]["status"] == 503
    assert found["responseHeaders"] == [{"name": "x-pod", "value": "a"}]
    pending = rig.queue.submit().id
    rig.out.clear()
    await print_task(rig.api, pending, "json", rig.out)
    assert json.loads(rig.out.getvalue())["responseHeaders"] is None


async def test_a_body_is_written_as_it_is(rig: Rig) -> None:
    id = failed_task(rig)
    body = bytes(range(256)) * 9000  # of three parts
    rig.fake.bodies[id, Side.RESPONSE] = body
    await write_body(rig.api, id, Side.RESPONSE, rig.out)
    assert rig.out.buffer.getvalue() == body
    assert sum(one[0] == "read_body" for one in rig.fake.calls) == 3


async def test_a_body_on_a_terminal_does_not_control_it(rig: Rig) -> None:
    id = failed_task(rig)
    rig.fake.bodies[id, Side.REQUEST] = f"한글 {HOSTILE}".encode() + b"\xff"
    terminal = Output(is_terminal=True)
    await write_body(rig.api, id, Side.REQUEST, terminal)
    assert terminal.getvalue() == "한글 [red]evil\n\ufffd\n"
    assert terminal.buffer.getvalue() == b""


async def test_there_is_no_body(rig: Rig) -> None:
    pending = rig.queue.submit().id
    for id in (pending, "unknown"):
        with pytest.raises(NoSuchTaskError):
            await write_body(rig.api, id, Side.RESPONSE, rig.out)
    rig.fake.may_read_bodies = False
    with pytest.raises(NotPermittedError):
        await write_body(rig.api, pending, Side.REQUEST, rig.out)
