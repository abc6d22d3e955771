"""`servedeck tasks`: lists, prints, watches, cancels, retries and submits."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from servedeck import cli
from servedeck.async_queue.errors import NoSuchTaskError, NotPermittedError, UnreachableError
from servedeck.async_queue.queue_api import QueueApi, Side, TaskQuery
from servedeck.async_queue.tasks import (
    Attempt,
    Changed,
    FailureReason,
    RequestView,
    ResponseView,
    TaskAction,
    TaskState,
)
from servedeck.commands.tasks import (
    ListPrinter,
    list_tasks,
    print_task,
    wait_for_response,
    write_body,
)
from servedeck.commands.tasks_change import ChangeOptions, ChangeRunner
from servedeck.commands.tasks_text import format_tokens
from servedeck.commands.tasks_watch import TaskWatch
from servedeck.demo.process import spawn
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.commands.test_async_queue import Prompt
from tests.waiting import WAIT_SECONDS, with_timeout

SERVING = "npu-lab/exaone-35-78b"
"""Of the demo, whose async queue is on."""
ALL = TaskQuery()
HOSTILE = "\x1b[31m[red]evil\r\n\x07\u202e"


class Output(io.StringIO):
    """Text, and bytes that were written beside it; a terminal if it is one."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self.buffer = io.BytesIO()

    def isatty(self) -> bool:
        return self._is_terminal

    def clear(self) -> None:
        self.seek(0)
        self.truncate()

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


class Rig:
    """A queue in memory, and what a command printed."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.fake = FakeQueueApi(self.queue)
        self.api = cast(QueueApi, self.fake)
        self.out, self.err = Output(), Output()

    async def list(
        self,
        query: TaskQuery = ALL,
        limit: int = 100,
        output: str = "text",
        *,
        oldest_first: bool = False,
        show_headers: bool = True,
    ) -> None:
        printer = ListPrinter("chat/llama", output, self.out, show_headers=show_headers)
        code = await list_tasks(
            self.api, query, limit, printer, self.err, oldest_first=oldest_first
        )
        assert code == 0

    def watch(self, ids: Sequence[str] = (), **options: Any) -> TaskWatch:
        return TaskWatch(self.api, ids, out=self.out, err=self.err, **options)

    async def change(
        self,
        action: TaskAction,
        targets: Sequence[str] | TaskQuery,
        *answers: str,
        **options: bool,
    ) -> int:
        self.prompt = Prompt(*answers)
        runner = ChangeRunner(
            self.api, ChangeOptions(action, targets, **options), self.prompt, self.out, self.err
        )
        return await runner.run()


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
        "servedeck: 2 tasks shown, and there are more; --limit 0 shows all."
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


# -- watch ----------------------------------------------------------------------------------------


def on_sleep(action: Callable[[], object]) -> Callable[[float], Any]:
    async def sleep(_: float) -> None:
        action()

    return sleep


async def test_changes_are_printed_until_all_have_ended(rig: Rig) -> None:
    queue = rig.queue
    first, second, other = (queue.submit().id for _ in range(3))
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: queue.claim(first),
            lambda: queue.end(first),
            lambda: queue.claim(other),
            lambda: queue.claim(second),
            lambda: queue.end(second, TaskState.FAILED),
        ]
    )

    class Stepping(FakeQueueApi):
        """Does the next step when what happened before was followed."""

        async def follow(self, after: str) -> Any:
            async for message in super().follow(after):
                yield message
                next(steps, lambda: None)()

    rig.api = cast(QueueApi, Stepping(queue))
    watch = rig.watch([first, second])
    assert await with_timeout(watch.run_for(0))
    assert not watch.all_completed
    assert [one.split()[1:3] for one in rig.out.lines] == [
        [first, "pending"],
        [second, "pending"],
        [first, "processing"],
        [first, "completed"],
        [second, "processing"],
        [second, "failed"],
    ]


async def test_tasks_that_have_ended_before_are_not_waited_for(rig: Rig) -> None:
    id = rig.queue.submit().id
    rig.queue.claim(id)
    rig.queue.end(id)
    watch = rig.watch([id, id], as_json=True)
    assert await with_timeout(watch.run_for(0))
    assert watch.all_completed
    [line] = rig.out.lines
    found = json.loads(line)
    assert (found["id"], found["state"], found["attempts"]) == (id, "completed", 1)


async def test_a_watch_goes_on_after_the_connection_was_lost(rig: Rig) -> None:
    queue, fake = rig.queue, rig.fake
    id = queue.submit().id
    tries = 0

    def come_back() -> None:
        """What happens while nothing is followed, and at the third try the gateway is back."""
        nonlocal tries
        tries += 1
        if tries == 1:
            queue.claim(id)
        elif tries == 3:
            queue.end(id)
            fake.failure = None

    class Lost(FakeQueueApi):
        async def follow(self, after: str) -> Any:
            if fake.failure is not None:
                raise fake.failure
            async for message in super().follow(after):
                yield message

    lost = Lost(queue)
    rig.api = cast(QueueApi, lost)
    fake.failure = UnreachableError("No gateway answers.")
    watch = rig.watch([id], sleep=on_sleep(come_back))
    assert await with_timeout(watch.run_for(0))
    assert [one.split()[2] for one in rig.out.lines] == ["pending", "processing", "completed"]
    assert rig.err.lines == ["servedeck: No gateway answers. Retrying."]


async def test_changes_that_are_no_longer_kept_are_read_again(rig: Rig) -> None:
    queue = rig.queue
    first, second = queue.submit().id, queue.submit().id

    class Trimmed(FakeQueueApi):
        """Two tasks end, and one is deleted, between the first look and the feed."""

        is_first = True

        async def follow(self, after: str) -> Any:
            if self.is_first:
                self.is_first = False
                for id in (first, second):
                    queue.claim(id)
                    queue.end(id)
                queue.delete(second)
                queue.trim_feed()
            async for message in super().follow(after):
                yield message

    rig.api = cast(QueueApi, Trimmed(queue))
    watch = rig.watch([first, second])
    assert await with_timeout(watch.run_for(0))
    assert [one.split()[1:3] for one in rig.out.lines[2:]] == [
        [first, "completed"],
        [second, "deleted"],
    ]
    assert not watch.all_completed, "it is not known how the second one ended"


async def test_a_watch_of_all_ends_after_its_time(rig: Rig) -> None:
    rig.queue.submit()
    assert not await with_timeout(rig.watch().run_for(0.01))
    assert rig.out.lines == []


async def test_a_task_that_is_not_stored_cannot_be_watched(rig: Rig) -> None:
    with pytest.raises(NoSuchTaskError, match="There is no task unknown"):
        await rig.watch(["unknown"]).run()


async def test_the_response_is_printed_when_the_task_has_ended(rig: Rig) -> None:
    done = rig.queue.submit().id
    rig.queue.claim(done)
    rig.queue.end(done)
    rig.fake.bodies[done, Side.RESPONSE] = b'{"answer": 1}'
    assert await wait_for_response(rig.api, done, 0, rig.out, rig.err) == 0
    assert rig.out.buffer.getvalue() == b'{"answer": 1}' and rig.err.lines == []
    cancelled = rig.queue.submit().id
    rig.queue.end(cancelled, TaskState.CANCELLED)
    assert await wait_for_response(rig.api, cancelled, 0, rig.out, rig.err) == 1
    assert rig.err.lines == [f"servedeck: task {cancelled} is cancelled: no reason given"]
    waiting = rig.queue.submit().id
    assert await wait_for_response(rig.api, waiting, 0.01, rig.out, rig.err) == 1
    assert "has not ended yet" in rig.err.lines[-1]


# -- cancel and retry -----------------------------------------------------------------------------


async def test_tasks_are_cancelled_by_their_ids(rig: Rig) -> None:
    first, second = rig.queue.submit().id, rig.queue.submit().id
    assert await rig.change(TaskAction.CANCEL, [first, second]) == 1
    assert "add -y to cancel them" in rig.err.lines[0]
    assert await rig.change(TaskAction.CANCEL, [first, second], "n") == 1
    assert rig.prompt.asked == ["Cancel 2 tasks? [y/N]"]
    assert rig.queue.counts().pending == 2
    assert await rig.change(TaskAction.CANCEL, [first, second], "y") == 0
    assert rig.out.lines == ["2 tasks cancelled."]
    assert await rig.change(TaskAction.CANCEL, [first]) == 1, "it is asked for nothing"
    assert rig.out.lines[1] == "The task was not cancelled: it was cancelled before."


async def test_all_that_match_are_cancelled(rig: Rig) -> None:
    queue = rig.queue
    for count in range(7):
        id = queue.submit(model="llama" if count < 5 else "mistral").id
        if count < 2:
            queue.claim(id)
    query = TaskQuery(None, "model:llama")
    assert await rig.change(TaskAction.CANCEL, query, dry_run=True) == 0
    assert rig.out.lines == ["5 tasks (3 pending, 2 processing) would be cancelled."]
    assert await rig.change(TaskAction.CANCEL, query, "y") == 0
    assert rig.prompt.asked == ["Cancel 5 tasks (3 pending, 2 processing)? [y/N]"]
    assert rig.out.lines[1] == "5 tasks cancelled."
    assert await rig.change(TaskAction.CANCEL, TaskQuery(), assume_yes=True) == 0
    assert rig.out.lines[2] == "2 tasks cancelled."
    assert await rig.change(TaskAction.CANCEL, TaskQuery()) == 0
    assert rig.out.lines[3] == "No task matches that can be cancelled."


async def test_a_filter_of_more_tasks_than_are_counted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.commands.tasks_change.MAX_COUNTED", 500)
    for _ in range(1200):
        rig.queue.submit()
    rig.fake.portion = 700
    assert await rig.change(TaskAction.CANCEL, TaskQuery(None, "model:llama"), "y") == 0
    assert rig.prompt.asked == ["Cancel more than 500 tasks? [y/N]"]
    assert rig.out.lines == ["1,200 tasks cancelled."]


async def test_failed_tasks_are_retried(rig: Rig) -> None:
    queue = rig.queue
    ids = [queue.submit().id for _ in range(3)]
    for id in ids:
        queue.claim(id)
    for id in ids[:2]:
        queue.end(id, TaskState.FAILED)
    query = TaskQuery(TaskState.FAILED)
    options = {"assume_yes": True, "as_json": True, "is_bare": True}
    assert await rig.change(TaskAction.RETRY, query, **options) == 0
    found = json.loads(rig.out.getvalue())
    assert (found["action"], found["changed"], found["isComplete"]) == ("retry", 2, True)
    [call] = [one for one in rig.fake.calls if one[0] == "change_matching"]
    assert True in call, "without credentials"
    rig.out.clear()
    assert await rig.change(TaskAction.RETRY, [*ids, "gone"], **options) == 1
    found = json.loads(rig.out.getvalue())
    assert (found["changed"], found["missing"]) == (0, 1)
    assert sum(found["others"].values()) == 3


async def test_a_retry_that_is_refused_without_credentials(rig: Rig) -> None:
    class Refusing(FakeQueueApi):
        async def change_tasks(self, *_: Any, is_bare: bool = False, **__: Any) -> Changed:
            if is_bare:
                return Changed(changed=1)
            return Changed(changed=0, refused=1, message="Its credentials were deleted.")

    id = rig.queue.submit().id
    rig.queue.end(id, TaskState.FAILED)
    rig.api = cast(QueueApi, Refusing(rig.queue))
    assert await rig.change(TaskAction.RETRY, [id], assume_yes=True) == 1
    assert rig.err.lines == [
        "servedeck: The task was not retried. Its credentials were deleted.",
        "  To send them without credentials, use --no-credentials.",
    ]
    assert await rig.change(TaskAction.RETRY, [id], assume_yes=True, is_bare=True) == 0


async def test_an_action_that_is_not_answered(rig: Rig) -> None:
    id = rig.queue.submit().id

    class Unanswered(FakeQueueApi):
        async def change_tasks(self, *_: Any, **__: Any) -> Changed:
            raise UnreachableError("No gateway answers.")

    rig.api = cast(QueueApi, Unanswered(rig.queue))
    assert await rig.change(TaskAction.CANCEL, [id], assume_yes=True) == 1
    [line] = rig.err.lines
    assert "No gateway answers." in line and "may have been cancelled" in line


async def test_what_was_done_before_an_interruption_is_told(rig: Rig) -> None:
    ids = [rig.queue.submit().id for _ in range(300)]
    waits = asyncio.Event()

    class Hanging(FakeQueueApi):
        """Does not answer the second request."""

        async def change_tasks(
            self, action: TaskAction, ids: Sequence[str], *, is_bare: bool = False
        ) -> Changed:
            if any(one[0] == "change_tasks" for one in self.calls):
                waits.set()
                await asyncio.Event().wait()
            return await super().change_tasks(action, ids, is_bare=is_bare)

    rig.api = cast(QueueApi, Hanging(rig.queue))
    running = asyncio.create_task(rig.change(TaskAction.CANCEL, ids, assume_yes=True))
    await with_timeout(waits.wait())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.err.lines[-1].startswith("servedeck: 200 tasks cancelled.")
    assert "may have been cancelled" in rig.err.lines[-1]


# -- the command line, on a demo cluster ----------------------------------------------------------


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with spawn() as file:
        yield file


class Command:
    def __init__(self, kubeconfig: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self._kubeconfig, self._capfd = kubeconfig, capfd

    def __call__(self, *words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["tasks", *words, "--kubeconfig", str(self._kubeconfig)])
        except SystemExit as error:  # argparse
            code = int(str(error.code))
        written = self._capfd.readouterr()
        return code, written.out, written.err


@pytest.fixture
def command(
    kubeconfig: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Command(kubeconfig, capfd)


def test_a_request_from_its_submission_to_its_response(command: Command, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"messages": [{"role": "user", "content": "Hello"}]}')
    code, out, err = command(SERVING, "submit", "-d", f"@{body}", "--wait")
    assert code == 0, err
    assert json.loads(out)["object"] == "chat.completion"
    id = err.split()[-1]
    code, out, err = command(SERVING, "--state", "completed", "--no-headers")
    assert code == 0 and id in [line.split()[0] for line in out.splitlines()], err
    code, out, err = command(SERVING, "get", id, "--request")
    assert (code, out) == (0, body.read_text()), err
    code, out, err = command(SERVING, "get", id, "--response")
    assert code == 0 and json.loads(out)["object"] == "chat.completion"
    code, out, err = command(SERVING, "get", id, "-o", "json")
    assert (code, json.loads(out)["state"]) == (0, "completed"), err
    code, out, err = command(SERVING, "watch", id)
    assert code == 0 and out.split()[1:3] == [id, "completed"], err
    code, out, err = command(SERVING, "cancel", id, "-y")
    assert (code, out) == (1, "The task was not cancelled: it had completed before.\n"), err


def test_a_task_that_fails_is_retried(command: Command) -> None:
    code, out, err = command(SERVING, "submit", "-d", "no JSON", "-o", "json")
    assert code == 0, err
    id = json.loads(out)["id"]
    code, _, err = command(SERVING, "watch", id, "--timeout", "5m")
    assert code == 1, err
    code, out, err = command(SERVING, "retry", "--filter", f"id:{id}", "-y")
    assert (code, out) == (0, "1 task retried.\n"), err
    code, out, err = command(SERVING, "watch", id)
    assert code == 1 and out.splitlines()[-1].split()[2] == "failed", err
    code, out, err = command(SERVING, "list", "--filter", "error:400", "-o", "json")
    assert id in [one["id"] for one in json.loads(out)["items"]], err


def test_a_serving_without_a_queue(command: Command) -> None:
    code, out, err = command("chat/qwen3-32b-awq")
    assert code == 1 and "the async queue is off" in err and not out
    code, out, err = command(SERVING, "get", "unknown")
    assert (code, err) == (1, "servedeck: No task of this id is stored.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a/b/c",), "is not NAME or NAMESPACE/NAME"),
        ((SERVING, "--filter", "age:soon"), "--filter: age:soon is no age"),
        ((SERVING, "list", "--state", "done"), "invalid choice"),
        ((SERVING, "--limit", "-1"), "--limit is a number of tasks"),
        ((SERVING, "get", "a", "--request", "-o", "json"), "leave out -o"),
        ((SERVING, "get", "a", "--request", "--response"), "not allowed with"),
        ((SERVING, "watch", "--timeout", "soon"), "is not a duration"),
        ((SERVING, "cancel"), "Give ids of tasks, or --all, --state or --filter."),
        ((SERVING, "retry"), "Give ids of tasks, or --failed or --filter."),
        ((SERVING, "cancel", "a", "--all"), "not both"),
        ((SERVING, "cancel", "--state", "failed"), "invalid choice"),
        ((SERVING, "submit"), "required: -d"),
        ((SERVING, "submit", "-d", "x", "-H", "no header"), "is no header"),
        ((SERVING, "submit", "-d", "@/nonexistent"), "Cannot read /nonexistent"),
    ],
)
def test_wrong_usage_exits_with_2(command: Command, words: tuple[str, ...], message: str) -> None:
    code, out, err = command(*words)
    assert code == 2 and message in err and not out, err


def test_readonly_shows_and_changes_nothing(command: Command) -> None:
    for words in (("submit", "-d", "x"), ("cancel", "--all", "-y"), ("retry", "--failed", "-y")):
        code, _, err = command(SERVING, *words, "--readonly")
        assert code == 1 and "runs with --readonly" in err
    code, out, _ = command(SERVING, "cancel", "--all", "--dry-run", "--readonly")
    assert code == 0 and out.endswith("would be cancelled.\n")
    assert command(SERVING, "--readonly")[0] == 0


def test_without_a_terminal_it_needs_y(command: Command) -> None:
    code, out, err = command(SERVING, "submit", "-d", "no JSON")
    assert code == 0, err
    command(SERVING, "watch", out.strip())
    code, _, err = command(SERVING, "retry", "--failed")
    assert code == 1 and "add -y to retry them" in err


@pytest.mark.parametrize("closes", [False, True])
def test_a_watch_ends_with_ctrl_c_and_with_its_reader(
    command: Command, kubeconfig: Path, *, closes: bool
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "servedeck", "tasks", SERVING, "watch"],
        env=os.environ | {"KUBECONFIG": str(kubeconfig), "PYTHONUNBUFFERED": "1"},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    seen = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        process.stdout.readline()
        seen.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        # Tasks until it follows them: it does not say when it begins.
        while not seen.wait(0.2):
            assert command(SERVING, "submit", "-d", "no JSON")[0] == 0
        reader.join()
        if closes:
            process.stdout.close()
            while process.poll() is None:
                command(SERVING, "submit", "-d", "no JSON")
        else:
            process.send_signal(signal.SIGINT)
        code = process.wait(WAIT_SECONDS)
        assert (code, process.stderr.read()) == (141 if closes else 130, "")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        process.stdout.close()


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [(None, None, ""), (12, None, "12+?"), (None, 340, "?+340"), (0, 5, "0+5")],
)
def test_tokens_that_are_not_known_are_not_none(
    prompt: int | None, completion: int | None, text: str
) -> None:
    task = FakeQueue().submit(prompt_tokens=prompt, completion_tokens=completion)
    assert format_tokens(task) == text
