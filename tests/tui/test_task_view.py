"""What the screen of a task is made of: when it is read, and its bodies while more is read."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from servedeck.async_queue.body_text import PART_BYTES, BodyBytes, BodyText, read_body_text
from servedeck.async_queue.live_queue import LivePhase, LiveQueue
from servedeck.async_queue.queue_api import Side
from servedeck.async_queue.tasks import ResponseView, TaskState
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.tui.helpers import screen_text, wait_for, wait_for_text
from tests.tui.task_screen import TASK_ID, FixedLiveQueue, TaskHarness, open_task
from tui.async_queue.heading import problem_texts
from tui.task_view import follower, reader
from tui.task_view.follower import TaskFollower
from tui.task_view.section_view import BODY_PART, BodyDocuments
from widgets.document_view import Document


@pytest.fixture
def harness() -> TaskHarness:
    return TaskHarness()


# -- the place of a task that waits -------------------------------------------------------------


async def test_the_place_of_a_task_goes_on_without_a_change_of_it(harness, monkeypatch):
    monkeypatch.setattr(follower, "PLACE_SECONDS", 0.0)
    harness.submit()
    harness.api.details[TASK_ID] = {"position": 30}
    async with open_task(harness, "30 tasks are taken before it") as pilot:
        harness.api.details[TASK_ID] = {"position": 1}
        await wait_for_text(pilot, "1 task is taken before it")
        harness.api.details[TASK_ID] = {"position": 0}
        await wait_for_text(pilot, "It is the next one")


class Followed:
    """A follower whose reads are started by `run`."""

    def __init__(self) -> None:
        self.queue = FakeQueue()
        self.api = FakeQueueApi(self.queue)
        self.live = FixedLiveQueue(self.api)
        self.live.phase = LivePhase.LIVE
        self.started: list[Coroutine[None, None, None]] = []
        task = self.queue.submit()
        self.follower = TaskFollower(
            self.live,
            self.api,
            task,
            on_change=lambda: None,
            start_worker=self.started.append,
        )
        self.follower.show(task)

    async def run(self) -> list[str]:
        """Do the reads that were started; returns what was asked for."""
        self.api.calls.clear()
        while self.started:
            await self.started.pop(0)
        return [call[0] for call in self.api.calls]

    async def tick(self, *, is_shown: bool = True) -> list[str]:
        self.follower.tick(is_shown=is_shown)
        return await self.run()


async def test_only_the_task_is_read_again_for_its_place_and_not_all_the_time(monkeypatch):
    followed = Followed()
    assert "request_head" in await followed.run()
    monkeypatch.setattr(follower, "PLACE_SECONDS", 3600.0)
    assert await followed.tick() == []
    monkeypatch.setattr(follower, "PLACE_SECONDS", 0.0)
    assert await followed.tick() == ["task_detail"]
    assert await followed.tick(is_shown=False) == []


async def test_a_change_while_the_place_is_read_is_read_after_it(monkeypatch):
    monkeypatch.setattr(follower, "PLACE_SECONDS", 0.0)
    followed = Followed()
    await followed.run()
    followed.follower.tick()
    followed.follower.tick()
    assert len(followed.started) == 1
    followed.follower._start_reading()
    assert (await followed.run())[:3] == ["task_detail", "task_detail", "attempts"]


@pytest.mark.parametrize("why", ["delayed", "processing", "deleted", "lost", "no store"])
async def test_a_place_that_does_not_change_is_not_read_again(monkeypatch, why):
    monkeypatch.setattr(follower, "PLACE_SECONDS", 0.0)
    followed = Followed()
    queue, live, task = followed.queue, followed.live, followed.follower.reader.task
    await followed.run()
    if why == "delayed":
        queue.give_back(task.id)
    elif why == "processing":
        queue.claim(task.id)
    elif why == "deleted":
        queue.delete(task.id)
    elif why == "lost":
        live.phase = LivePhase.RETRYING
    else:
        live.store_problem = "Valkey is away."
    if why in ("delayed", "processing", "deleted"):
        assert await followed.tick() == ["task_detail"]
    assert await followed.tick() == []
    if why == "delayed":
        queue.time += 60
        assert await followed.tick() == ["task_detail"]
        assert followed.follower.reader.task.state is TaskState.PENDING


# -- bodies -------------------------------------------------------------------------------------


async def test_more_of_a_body_leaves_the_reader_on_the_line(harness):
    harness.submit()
    harness.complete()
    harness.set_bodies(response="".join(f"line {at}\n" for at in range(200_000)).encode())
    harness.api.heads[TASK_ID, Side.RESPONSE] = ResponseView(
        status=200, headers=[("content-type", "text/plain")]
    )
    async with open_task(harness, "120 of the completion", size=(80, 40)) as pilot:
        await pilot.press("4")
        await wait_for_text(pilot, "256.0 KiB of", "line 0")
        await pilot.press("G", "k", "k")
        view = harness.screen.view
        await wait_for(pilot, lambda: view.place.item > 1000, "the end of the first part")
        place, lines = view.place, len(view.document)
        line = screen_text(harness.app).splitlines()[-5].split()[:2]
        assert place.part == BODY_PART and line[0] == "line"
        await pilot.press("m")
        await wait_for(pilot, lambda: len(view.document) > 2 * lines, "more of it")
        assert view.place == place
        assert f"{line[0]} {line[1]}" in screen_text(harness.app)


class Documents:
    """Documents of bodies, of which the large ones are made by `make`."""

    def __init__(self) -> None:
        self.works: list[Coroutine[None, None, None]] = []
        self.documents = BodyDocuments(self.works.append)

    def show(self, text: BodyText) -> Document:
        return self.documents.document(text, 80, lambda: None)

    async def make(self) -> None:
        while self.works:
            await self.works.pop(0)


def long_text(data: bytes) -> BodyText:
    return read_body_text(BodyBytes(data, len(data)), Side.RESPONSE, content_type="text/plain")


async def test_the_document_of_less_of_a_body_stays_until_that_of_more_is_made():
    data = b"".join(b"line %d\n" % at for at in range(60_000))
    documents = Documents()
    documents.show(long_text(data[:PART_BYTES]))
    await documents.make()
    first = documents.show(text := long_text(data[:PART_BYTES]))
    assert len(first) > 1000
    assert documents.show(text) is first
    more = long_text(data)
    assert documents.show(more) is first
    await documents.make()
    assert len(documents.show(more)) > len(first)
    other = documents.show(long_text(b"other\n" * 50_000))
    assert len(other) == 1 and other.line(0)[0][0] == "Loading…"
    await documents.make()


@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_body_that_is_compressed_is_never_decoded_at_once(harness, monkeypatch, encoding):
    """A few bytes may become some MiB, and the screen would not answer meanwhile."""
    threads: list[int] = []

    def note(body: BodyBytes, side: Side, **options: Any) -> BodyText:
        if side is Side.RESPONSE:
            threads.append(threading.get_ident())
        return read_body_text(body, side, **options)

    monkeypatch.setattr(reader, "read_body_text", note)
    harness.submit()
    harness.complete()
    body = json.dumps({"id": "one", "text": "x" * 500}).encode()
    harness.set_bodies(response=gzip.compress(body) if encoding else body)
    harness.api.heads[TASK_ID, Side.RESPONSE] = ResponseView(
        status=200,
        headers=[("Content-Type", "application/json"), ("Content-Encoding", encoding)][
            : 2 if encoding else 1
        ],
    )
    async with open_task(harness, "120 of the completion") as pilot:
        await pilot.press("4")
        await wait_for_text(pilot, '"id": "one"')
    assert [one == threading.get_ident() for one in threads] == [not encoding]


# -- what is said above the tasks ---------------------------------------------------------------


def live_queue(phase: LivePhase, problem: str, store_problem: str = "") -> LiveQueue:
    live = FixedLiveQueue(FakeQueueApi(FakeQueue()))
    live.phase, live.problem, live.store_problem = phase, problem, store_problem
    return live


@pytest.mark.parametrize(
    ("phase", "problem", "store_problem", "texts"),
    [
        (LivePhase.LIVE, "", "", []),
        (LivePhase.LIVE, "No page.", "", ["No page."]),
        (LivePhase.LIVE, "X.", "X.", ["The gateway cannot ask its store: X."]),
        (LivePhase.RETRYING, "X.", "X.", ["Reconnecting: the gateway cannot ask its store: X."]),
        (
            LivePhase.RETRYING,
            "Y.",
            "X.",
            ["The gateway cannot ask its store: X.", "reconnecting: Y."],
        ),
        (LivePhase.RETRYING, "", "", ["Reconnecting"]),
        (LivePhase.OFF, "The serving has no async gateway.", "", []),
    ],
)
async def test_each_problem_is_said_once(phase, problem, store_problem, texts):
    live = live_queue(phase, problem, store_problem)
    assert problem_texts(live, live.now()) == texts
