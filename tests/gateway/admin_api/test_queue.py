"""The state of the queue, why nothing drains, and actions on many tasks."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from servedeck.async_queue.tasks import StateCounts, WorkerStatus
from servedeck.gateway.admin_api import actions, bulk
from servedeck.gateway.admin_api.queue_status import why_blocked
from servedeck.gateway.objects import ObjectStoreError
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import Content, Control
from servedeck.gateway.stores.task_records import CLOSED_REFUSAL
from tests.gateway.admin_api.rig import POD, Rig, running_rig
from tests.gateway.admin_api.test_openapi import ADMIN
from tests.waiting import with_timeout

QUEUE = "/-/async/queue"
WORKING = WorkerStatus(name="w", ready_pods=[POD])
WAITING = StateCounts(pending=3)


async def test_the_state_of_the_queue(rig: Rig) -> None:
    await rig.complete()
    await rig.submit()
    await rig.claim()
    await rig.submit()
    await rig.context.store.report(WORKING, 3600.0)
    status = await rig.get(QUEUE)
    assert status["serving"] == "chat/llama"
    assert status["counts"]["pending"] == status["counts"]["completed"] == 1
    assert status["backlog"] == 2
    assert status["oldest_seconds"] >= 0
    assert status["running"] == {POD: 1}
    assert [one["name"] for one in status["workers"]] == ["w"]
    assert (status["paused"], status["blocked_by"]) == (False, "")
    assert (status["concurrency"], status["pod_concurrency"]) == (0, 4)


@pytest.mark.parametrize(
    ("counts", "control", "workers", "said"),
    [
        (StateCounts(), Control(paused=True), [], ""),
        (StateCounts(processing=3), Control(), [], ""),
        (WAITING, Control(), [WORKING], ""),
        (WAITING, Control(paused=True), [WORKING], "paused"),
        (WAITING, Control(), [], "No worker"),
        (WAITING, Control(), [WorkerStatus(name="w", blocked_by="No disk.")], "No disk."),
        (WAITING, Control(), [WorkerStatus(name="w", blocked_by="No disk."), WORKING], ""),
        (WAITING, Control(), [WorkerStatus(name="w")], "No Pod"),
        (StateCounts(pending=3, delayed=3), Control(), [WORKING], "next attempt"),
        (StateCounts(pending=3, delayed=3, processing=1), Control(), [WORKING], ""),
        (StateCounts(pending=3, delayed=2), Control(), [WORKING], ""),
        (StateCounts(pending=3, delayed=3, processing=1), Control(), [WORKING], ""),
    ],
)
def test_why_nothing_drains(
    counts: StateCounts, control: Control, workers: list[WorkerStatus], said: str
) -> None:
    found = why_blocked(counts, control, workers, 4).by
    assert said in found and bool(said) == bool(found)


def test_no_concurrency_is_why_nothing_drains() -> None:
    assert "concurrency" in why_blocked(WAITING, Control(), [WORKING], 0).by


def test_since_when_nothing_drains() -> None:
    """Since the last of the workers could not."""
    paused = [_blocked("The queue is paused.", 20.0), _blocked("The queue is paused.", 21.0)]
    assert why_blocked(WAITING, Control(paused=True), paused, 4).since == 21.0
    assert why_blocked(WAITING, Control(paused=True), [WORKING], 4).since is None
    no_pods = [_blocked("No Pod.", 30.0), _blocked("No Pod.", 29.0)]
    assert why_blocked(WAITING, Control(), no_pods, 4) == ("No Pod.", 30.0)
    assert why_blocked(WAITING, Control(), [*no_pods, WORKING], 4) == ("", None)
    failing = WorkerStatus(name="w", ready_pods=[POD], failure="It said 503.", failing_since=31.0)
    expected = ("All attempts fail at present. It said 503.", 31.0)
    for workers in ([failing], [failing, *no_pods]):
        assert why_blocked(WAITING, Control(), workers, 4) == expected
        delayed = StateCounts(pending=3, delayed=3)
        assert why_blocked(delayed, Control(), workers, 4) == expected
    assert why_blocked(WAITING, Control(), [failing, WORKING], 4) == ("", None)
    assert why_blocked(StateCounts(), Control(), [failing], 4) == ("", None)


def _blocked(reason: str, since: float) -> WorkerStatus:
    return WorkerStatus(name="b", blocked_by=reason, blocked_since=since)


async def test_the_times_of_the_queue_are_those_of_the_store(tmp_path: Path) -> None:
    ahead = 86400.0
    store = SqliteStore(tmp_path / "ahead.db", clock=lambda: time.time() + ahead)
    async with running_rig(tmp_path, store) as rig:
        id = await rig.submit()
        created = (await rig.get(f"/-/async/tasks/{id}"))["created"]
        status = await rig.get(QUEUE)
        assert status["time"] > time.time() + ahead / 2
        assert status["oldest"] == created
        assert status["oldest_seconds"] == status["time"] - created
        await rig.claim()
        status = await rig.get(QUEUE)
        assert (status["oldest"], status["oldest_seconds"]) == (None, None)


async def test_pause_and_resume(rig: Rig) -> None:
    await rig.submit()
    assert (await rig.post(f"{QUEUE}/pause"))["changed"] == 1
    assert (await rig.post(f"{QUEUE}/pause"))["changed"] == 0
    status = await rig.get(QUEUE)
    assert status["paused"] and "paused" in status["blocked_by"]
    claim = rig.context.store.claim(
        "w", [POD], limit=1, concurrency=0, pod_concurrency=4, lease=60.0
    )
    assert await claim == []
    assert (await rig.post(f"{QUEUE}/resume"))["changed"] == 1
    assert (await rig.claim()).attempt == 1


async def test_close_and_open(rig: Rig) -> None:
    assert (await rig.get(QUEUE))["closed"] is False
    id = await rig.submit()
    await rig.post(f"{QUEUE}/pause")
    assert (await rig.post(f"{QUEUE}/close"))["changed"] == 1
    assert (await rig.post(f"{QUEUE}/close"))["changed"] == 0
    status = await rig.get(QUEUE)
    assert (status["closed"], status["paused"]) == (True, True)
    refused = await rig.submit()
    assert (await rig.ask("GET", f"/-/async/tasks/{refused}"))[0] == 404
    await rig.post(f"{QUEUE}/resume")
    assert (await rig.claim()).id == id, "what was accepted is delivered"
    assert (await rig.post(f"{QUEUE}/open"))["changed"] == 1
    assert (await rig.post(f"{QUEUE}/open"))["changed"] == 0
    assert (await rig.get(QUEUE))["closed"] is False
    accepted = await rig.submit()
    assert (await rig.get(f"/-/async/tasks/{accepted}"))["state"] == "pending"


async def test_nothing_is_tried_again_while_it_is_closed(rig: Rig) -> None:
    id = await rig.fail()
    await rig.post(f"{QUEUE}/close")
    status, problem = await rig.ask("POST", f"/-/async/tasks/{id}/retry")
    assert (status, problem["detail"]) == (409, CLOSED_REFUSAL)
    answer = await rig.post(f"{QUEUE}/redrive")
    assert (answer["changed"], answer["refused"], answer["message"]) == (0, 1, CLOSED_REFUSAL)


async def test_the_concurrency_is_set_and_unset(rig: Rig) -> None:
    await rig.post(f"{QUEUE}/pause")
    assert (await rig.post(f"{QUEUE}/control", json={"concurrency": 9}))["changed"] == 1
    assert (await rig.post(f"{QUEUE}/control", json={"pod_concurrency": 2}))["changed"] == 1
    assert (await rig.post(f"{QUEUE}/control", json={"pod_concurrency": 2}))["changed"] == 0
    status = await rig.get(QUEUE)
    assert (status["concurrency"], status["pod_concurrency"], status["paused"]) == (9, 2, True)
    body = {"concurrency": None, "pod_concurrency": None}
    assert (await rig.post(f"{QUEUE}/control", json=body))["changed"] == 1
    assert await rig.context.store.control() == Control(paused=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"concurency": 1}',
        b'{"concurrency": "1"}',
        b'{"concurrency": -1}',
        b'{"pod_concurrency": 0}',
        b'{"concurrency": 1000000}',
        b'{"concurrency": 1.5}',
    ],
)
async def test_a_wrong_control_changes_nothing(rig: Rig, body: bytes) -> None:
    status, problem = await rig.ask("POST", f"{QUEUE}/control", data=body)
    assert status == 400 and problem["title"].startswith("Wrong ")
    assert await rig.context.store.control() == Control()


async def test_a_change_that_somebody_else_was_before_is_refused(rig: Rig) -> None:
    path = f"{QUEUE}/control"
    seen = await rig.get(path)
    assert (seen["concurrency"], seen["closed"]) == (None, False)
    assert (await rig.get(QUEUE))["control_version"] == seen["version"]
    first = {"concurrency": 9, "version": seen["version"]}
    async with rig.session.post(rig.url + path, json=first) as response:
        assert response.status == 200
        etag = response.headers["ETag"]
    status, problem = await rig.ask("POST", path, json={**first, "concurrency": 5})
    assert (status, problem["present"]["concurrency"]) == (412, 9)
    assert f'"{problem["present"]["version"]}"' == etag
    # by the header likewise
    for given, expected in ((f'"{seen["version"]}"', 412), (f"W/{etag}", 412), ("x", 412)):
        async with rig.session.post(
            rig.url + path, json={"concurrency": 5}, headers={"If-Match": given}
        ) as response:
            assert response.status == expected, given
            assert response.headers["ETag"] == etag
            ADMIN.check_answer(
                ADMIN.operations["POST", path], 412, response.headers, await response.read()
            )
    assert (await rig.get(path))["concurrency"] == 9
    for given in (etag, f'"a", {etag}', "*"):
        headers = {"If-Match": given}
        await rig.post(path, json={"concurrency": 9, "pod_concurrency": 2}, headers=headers)
        await rig.post(path, json={"pod_concurrency": None})
    async with rig.session.get(rig.url + path) as response:
        assert response.headers["ETag"] == etag, "the same values are the same version"


async def test_changes_at_the_same_time_are_all_kept(rig: Rig) -> None:
    """By processes that share a store: each looked before any of them wrote."""
    control = rig.context.store.control
    looks = 0
    both_looked = asyncio.Event()

    async def look() -> Control:
        nonlocal looks
        found = await control()
        looks += 1
        if looks >= 2:
            both_looked.set()
        await with_timeout(both_looked.wait())
        return found

    rig.context.store.control = look  # type: ignore[method-assign]
    await asyncio.gather(
        rig.post(f"{QUEUE}/pause"), rig.post(f"{QUEUE}/control", json={"concurrency": 7})
    )
    assert await control() == Control(paused=True, concurrency=7)
    assert looks == 3


async def test_a_control_that_is_too_long_is_not_read(rig: Rig) -> None:
    status, _ = await rig.ask("POST", f"{QUEUE}/control", data=b" " * 100_000)
    assert status == 413


async def test_purge_cancels_what_waits(rig: Rig) -> None:
    running = await rig.submit()
    await rig.claim()
    for _ in range(3):
        await rig.submit()
    failed = await rig.post(f"{QUEUE}/purge")
    assert (failed["changed"], failed["next"]) == (3, "")
    counts = await rig.context.store.counts()
    assert (counts.pending, counts.processing, counts.cancelled) == (0, 1, 3)
    assert (await rig.post(f"{QUEUE}/purge?state=processing"))["changed"] == 1
    assert (await rig.get(f"/-/async/tasks/{running}"))["state"] == "cancelled"


async def test_purge_of_one_owner(rig: Rig) -> None:
    await rig.submit(owner="a")
    kept = await rig.submit(owner="b")
    assert (await rig.post(f"{QUEUE}/purge?owner=a"))["changed"] == 1
    assert (await rig.get("/-/async/tasks?state=pending"))["items"][0]["id"] == kept
    # "" is the owner of callers without credentials, not everyone
    assert (await rig.post(f"{QUEUE}/purge?owner="))["changed"] == 0


@pytest.mark.parametrize(
    "query",
    ["purge?state=failed", "purge?limit=0", "redrive?reason=bored", "forget?state=pending"],
)
async def test_a_wrong_parameter_changes_nothing(rig: Rig, query: str) -> None:
    await rig.submit()
    await rig.fail()
    status, _ = await rig.ask("POST", f"{QUEUE}/{query}")
    assert status == 400
    counts = await rig.context.store.counts()
    assert (counts.pending, counts.failed) == (1, 1)


async def test_many_tasks_are_changed_in_batches_that_can_be_resumed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    monkeypatch.setattr(bulk, "SECONDS", 0.0)
    for _ in range(7):
        await rig.submit()
    answers, after = [], ""
    while True:
        answer = await rig.post(f"{QUEUE}/purge?after={after}")
        answers.append(answer["changed"])
        if not (after := answer["next"]):
            break
    assert answers == [2, 2, 2, 1]
    assert (await rig.context.store.counts()).cancelled == 7


async def test_a_limit_is_kept(rig: Rig) -> None:
    for _ in range(5):
        await rig.submit()
    first = await rig.post(f"{QUEUE}/purge?limit=3")
    assert first["changed"] == 3 and first["next"]
    second = await rig.post(f"{QUEUE}/purge?limit=3&after={first['next']}")
    assert (second["changed"], second["next"]) == (2, "")


async def test_redrive_of_one_reason(rig: Rig) -> None:
    exhausted, _ = await rig.fail("exhausted"), await rig.fail("refused")
    assert (await rig.post(f"{QUEUE}/redrive?reason=exhausted"))["changed"] == 1
    assert (await rig.claim()).id == exhausted
    assert (await rig.post(f"{QUEUE}/redrive"))["changed"] == 1


async def test_redrive_tells_what_it_cannot_do(rig: Rig) -> None:
    await rig.fail(has_credentials=True)
    await rig.fail()
    answer = await rig.post(f"{QUEUE}/redrive")
    assert (answer["changed"], answer["refused"]) == (1, 1)
    assert "credentials" in answer["message"]
    assert (await rig.post(f"{QUEUE}/redrive?credentials=none"))["changed"] == 1


async def test_forget_deletes_what_ended(rig: Rig) -> None:
    completed, failed = await rig.complete(), await rig.fail()
    running = await rig.submit()
    await rig.claim()
    waiting = await rig.submit()
    assert (await rig.post(f"{QUEUE}/forget?state=failed"))["changed"] == 1
    assert (await rig.ask("GET", f"/-/async/tasks/{failed}"))[0] == 404
    assert (await rig.get(f"/-/async/tasks/{completed}"))["state"] == "completed"
    answer = await rig.post(f"{QUEUE}/forget")
    assert (answer["changed"], answer["refused"], answer["next"]) == (1, 0, "")
    left = [one["id"] for one in (await rig.get("/-/async/tasks"))["items"]]
    assert sorted(left) == sorted([running, waiting])


async def test_forget_deletes_the_objects_and_finds_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    monkeypatch.setattr(actions, "BATCH", 2)
    folder = tmp_path / "objects"
    async with running_rig(tmp_path, objects=f"file:{folder}") as rig:
        objects = rig.context.objects
        assert objects is not None
        names = []
        for number in range(5):
            names.append(f"{number:044d}/request")
            await objects.put(names[-1], b"x" * 10)
            await rig.submit(body=Content(object=names[-1], size=10))
            await rig.end(await rig.claim())
        await objects.put("kept/request", b"y")
        await rig.submit(body=Content(object="kept/request", size=1))

        def stored() -> list[str]:
            return sorted(f"{one.parent.name}/{one.name}" for one in folder.rglob("request"))

        assert len(stored()) == 6

        async def fail(_names: object) -> None:
            raise ObjectStoreError("It is away.")

        with monkeypatch.context() as patch:
            patch.setattr(objects, "delete", fail)
            status, problem = await rig.ask("POST", f"{QUEUE}/forget")
            assert (status, "It is away." in problem["detail"]) == (503, True)
        assert len(stored()) == 6
        await rig.post(f"{QUEUE}/forget")
        assert stored() == ["kept/request"]
        assert await rig.context.store.unneeded_objects(10) == []
        counts = await rig.context.store.counts()
        assert (counts.pending, counts.completed) == (1, 0)
