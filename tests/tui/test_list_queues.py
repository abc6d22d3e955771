"""The badges of async queues in the list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from servedeck.async_queue.errors import NotPermittedError, UnreachableError
from servedeck.async_queue.queue_api import QueueChanged, StoreLost
from servedeck.cluster.http.errors import ConnectionLostError
from servedeck.fleet.views import NamespacedName
from tests.async_queue.fake_queue import FakeQueue, FakeQueueApi
from tests.tui import fakes
from tests.tui.helpers import make_app, screen_text, wait_for, wait_for_text
from tests.waiting import wait_until
from tui import list_queues
from tui.list_queues import ListQueues
from widgets.serving_rows import QueueFigures, queue_span


class FollowedApi(FakeQueueApi):
    def __init__(self) -> None:
        super().__init__(FakeQueue())
        self.open_count = 0
        """Connections that are open."""
        self.tries = 0
        self.is_store_lost = False
        self.error: Exception | None = None

    async def follow_queue(self) -> AsyncGenerator[QueueChanged | StoreLost, None]:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.open_count += 1
        try:
            async for message in super().follow_queue():
                yield StoreLost("It is away.") if self.is_store_lost else message
        finally:
            self.open_count -= 1


class FakeAsyncQueueService:
    def __init__(self) -> None:
        self.apis: dict[str, FollowedApi] = {}
        self.is_connected = True
        self.is_closed = False

    def queue_api(self, key: NamespacedName) -> FollowedApi:
        if not self.is_connected:
            raise ConnectionLostError("Not connected.")
        return self[key.name]

    async def close(self) -> None:
        self.is_closed = True

    def __getitem__(self, name: str) -> FollowedApi:
        return self.apis.setdefault(name, FollowedApi())

    @property
    def followed(self) -> set[str]:
        return {name for name, one in self.apis.items() if one.open_count}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeAsyncQueueService:
    """Nothing is tried again by itself but at once."""
    monkeypatch.setattr(list_queues, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(list_queues, "RESUME_SECONDS", 0.0)
    return FakeAsyncQueueService()


def app_with(service: FakeAsyncQueueService, *names: str) -> Any:
    source = fakes.FakeSource().add_views(
        fakes.serving("plain"), *(fakes.serving(name, has_async_queue=True) for name in names)
    )
    return make_app(source, async_queue_service=service)


def line_of(app: Any, name: str) -> str:
    return next((one for one in screen_text(app).splitlines() if f" {name} " in one), "")


async def test_the_badge_has_the_depth_and_follows_it(service: FakeAsyncQueueService) -> None:
    queue = service["llama"].queue
    for number in range(12):
        queue.submit(f"t{number}")
    app = app_with(service, "llama")
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for_text(pilot, "queue 12")
        assert "queue" not in line_of(app, "plain")
        queue.claim("t0")
        await wait_for(pilot, lambda: "queue 11" in line_of(app, "llama"), "a task fewer")
        queue.set_status(blocked_by="The queue is paused.")
        await wait_for(
            pilot, lambda: app.servings._queues.find(queue_key("llama")).is_blocked, "the reason"
        )
        assert service["llama"].calls == [], "nothing but the feed is asked"
        assert service.followed == {"llama"}
        assert not service.is_closed
    assert service.is_closed, "the app has ended"


def queue_key(name: str) -> NamespacedName:
    return NamespacedName("team-a", name)


async def test_a_queue_that_is_turned_on_and_off_gets_and_loses_its_badge(
    service: FakeAsyncQueueService,
) -> None:
    app = app_with(service)
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for_text(pilot, "plain")
        assert "queue" not in line_of(app, "plain")
        app.source.add_views(fakes.serving("plain", has_async_queue=True))
        await wait_for(pilot, lambda: "queue 0" in line_of(app, "plain"), "the badge")
        app.source.add_views(fakes.serving("plain"))
        await wait_for(pilot, lambda: "queue" not in line_of(app, "plain"), "no badge")
        await wait_for(pilot, lambda: not service.followed, "no connection")


@pytest.mark.parametrize(
    "error",
    [
        NotPermittedError("Needs get on secrets."),
        UnreachableError("No Pod is up."),
        ValueError("a bug"),
    ],
)
async def test_a_queue_that_cannot_be_followed_has_no_depth_and_no_message(
    service: FakeAsyncQueueService, error: Exception
) -> None:
    service["llama"].error = error
    app = app_with(service, "llama")
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for(pilot, lambda: service["llama"].tries > 2, "some tries")
        assert "queue" in line_of(app, "llama") and "queue 0" not in line_of(app, "llama")
        assert str(error) not in screen_text(app)
        service["llama"].error = None
        await wait_for(pilot, lambda: "queue 0" in line_of(app, "llama"), "the depth")
        service["llama"].is_store_lost = True
        service["llama"].queue.submit()
        await wait_for(pilot, lambda: "queue 0" not in line_of(app, "llama"), "no depth")
        assert "queue" in line_of(app, "llama")


async def test_a_connection_that_is_cut_is_resumed_and_the_depth_kept(
    service: FakeAsyncQueueService,
) -> None:
    api = service["llama"]
    api.queue.submit()
    app = app_with(service, "llama")
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for_text(pilot, "queue 1")
        changes: list[QueueFigures | None] = []
        on_queues = app.servings._queues._on_update

        def note(keys: Any) -> None:
            changes.extend(app.servings._queues.find(key) for key in keys)
            on_queues(keys)

        app.servings._queues._on_update = note
        api.cut.set()
        await wait_for(pilot, lambda: api.tries == 2 and api.open_count, "the next connection")
        api.queue.submit()
        await wait_for_text(pilot, "queue 2")
        assert changes == [QueueFigures(2, is_blocked=False)]


async def test_nothing_is_followed_under_another_screen(
    service: FakeAsyncQueueService,
) -> None:
    service["llama"].queue.submit()
    app = app_with(service, "llama")
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for_text(pilot, "queue 1")
        await pilot.press("question_mark")
        await wait_for(pilot, lambda: app.screen is not app.servings, "another screen")
        await wait_for(pilot, lambda: not service.followed, "no connection")
        assert app.servings._queues.find(queue_key("llama")) == QueueFigures(1, is_blocked=False)
        service["llama"].queue.submit()
        await pilot.press("escape")
        await wait_for_text(pilot, "queue 2")
    assert not service.followed, "the app has ended"


async def test_the_rows_on_the_screen_are_followed_and_not_more_than_twenty(
    service: FakeAsyncQueueService,
) -> None:
    names = [f"serving-{number:03}" for number in range(100)]
    app = app_with(service, *names)
    async with app.run_test(size=(120, 50)) as pilot:
        await wait_for(pilot, lambda: len(service.followed) == 20, "the first ones")
        assert service.followed == set(names[:20])
        await pilot.press("end")
        await wait_for(
            pilot, lambda: service.followed.isdisjoint(names[:20]) and service.followed, "others"
        )
        assert len(service.followed) <= 20


async def test_a_queue_that_is_no_longer_followed_after_a_pause_is_forgotten(
    service: FakeAsyncQueueService,
) -> None:
    """With more than twenty on the screen, its figures would stay as they were."""
    updated: list[NamespacedName] = []
    queues = ListQueues(lambda: service, updated.extend)
    kept, left = queue_key("kept"), queue_key("left")
    queues.follow([kept, left])
    await wait_until(lambda: queues.find(kept) and queues.find(left), "the figures")
    queues.pause()
    assert queues.find(left) is not None
    updated.clear()
    queues.follow([kept])
    assert queues.find(left) is None and updated == [left]
    assert queues.find(kept) is not None
    await queues.close()


async def test_another_context_has_other_queues(service: FakeAsyncQueueService) -> None:
    service["llama"].queue.submit()
    app = app_with(service, "llama")
    async with app.run_test(size=(120, 30)) as pilot:
        await wait_for_text(pilot, "queue 1")
        service.is_connected = False
        app.source.context = "staging"
        app.source.set_state()
        await wait_for(pilot, lambda: not service.followed, "the connections to be closed")
        assert "queue 1" not in line_of(app, "llama")
        service.is_connected = True
        await wait_for_text(pilot, "queue 1")


async def test_tries_become_rarer() -> None:
    waits: list[float] = []
    service = FakeAsyncQueueService()
    service["llama"].error = UnreachableError("No Pod is up.")
    queues = ListQueues(lambda: service, lambda _: None)
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_queues.asyncio, "sleep", note)
        queues.follow([queue_key("llama")])
        while len(waits) < 7:
            await sleep(0.01)
        await queues.close()
    assert waits[:6] == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]


def test_the_style_says_whether_it_drains() -> None:
    assert queue_span(None) == ("queue", "muted")
    assert queue_span(QueueFigures(0, is_blocked=False)) == ("queue 0", "muted")
    assert queue_span(QueueFigures(1200, is_blocked=False)) == ("queue 1,200", "accent")
    assert queue_span(QueueFigures(3, is_blocked=True)) == ("queue 3", "warning")
