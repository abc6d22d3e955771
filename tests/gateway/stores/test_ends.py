"""An attempt ends once, and only for who holds it."""

from __future__ import annotations

import asyncio

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import Content, Response, TaskStore
from tests.gateway.stores.cases import (
    LONG,
    PODS,
    RESPONSE_HEAD,
    SHORT,
    StoreCase,
    attempt_of,
    claim,
    claim_all,
    claim_one,
    end_of,
    fail,
    read_all,
    state_of,
    submit,
    task_of,
)


async def test_a_completed_task_has_its_response(store: TaskStore) -> None:
    id = await submit(store)
    claimed = await claim_one(store)
    assert await store.read_response(id) is None
    assert await store.finish(end_of(claimed, data=b"\x00answer", keep=LONG))
    shown = await task_of(store, id)
    assert (shown.state, shown.reason, shown.message) == (TaskState.COMPLETED, "", "")
    assert (shown.status, shown.response_bytes, shown.attempt) == (200, 7, 1)
    assert shown.ended is not None and shown.expires == pytest.approx(shown.ended + LONG, abs=0.01)
    assert await store.read_response(id) == Response(
        RESPONSE_HEAD, Content(data=b"\x00answer", size=7)
    )
    assert await store.read_attempts(id) == [attempt_of(claimed)]
    assert await store.running() == {}


async def test_a_failed_task_says_why_and_has_its_last_response(store: TaskStore) -> None:
    id = await submit(store)
    await fail(store, id, data=b"no", reason="refused", message="It said no.", status=422)
    shown = await task_of(store, id)
    assert (shown.state, shown.reason, shown.message) == (
        TaskState.FAILED,
        "refused",
        "It said no.",
    )
    assert (shown.status, shown.response_bytes) == (422, 2)
    assert await store.read_response(id) == Response(RESPONSE_HEAD, Content(data=b"no", size=2))


async def test_a_task_can_fail_without_a_response(store: TaskStore) -> None:
    id = await submit(store)
    await fail(store, id, head=b"", body=Content(), status=None, reason="exhausted")
    assert await store.read_response(id) is None
    assert (await task_of(store, id)).status is None


@pytest.mark.parametrize("tokens", [(7, 0), (None, 9), (None, None), (2**53 - 1, 1)])
async def test_the_tokens_of_a_response_are_kept(
    store: TaskStore, tokens: tuple[int | None, int | None]
) -> None:
    id = await submit(store)
    shown = await task_of(store, id)
    assert (shown.prompt_tokens, shown.completion_tokens) == (None, None)
    prompt, completion = tokens
    end = end_of(await claim_one(store), prompt_tokens=prompt, completion_tokens=completion)
    assert await store.finish(end)
    for shown in [await task_of(store, id), *await store.page(None, "", 1)]:
        assert (shown.prompt_tokens, shown.completion_tokens) == tokens


async def test_an_empty_response_is_one(store: TaskStore) -> None:
    id = await submit(store)
    await store.finish(end_of(await claim_one(store), data=b""))
    assert await store.read_response(id) == Response(RESPONSE_HEAD, Content())


async def test_a_response_can_be_an_object(store: TaskStore) -> None:
    id = await submit(store)
    body = Content(object=f"{id}/response-1", size=1 << 33)
    await store.finish(end_of(await claim_one(store), body=body))
    response = await store.read_response(id)
    assert response is not None and response.body == body
    assert (await task_of(store, id)).response_bytes == 1 << 33


async def test_an_end_is_recorded_once(store: TaskStore) -> None:
    id = await submit(store)
    claimed = await claim_one(store)
    results = await asyncio.gather(
        *(store.finish(end_of(claimed, data=b"%d" % n)) for n in range(10))
    )
    assert sorted(results) == [False] * 9 + [True]
    response = await store.read_response(id)
    assert response is not None and response.body.data == b"%d" % results.index(True)
    assert not await store.finish(end_of(claimed, TaskState.FAILED))
    assert (await task_of(store, id)).state is TaskState.COMPLETED
    ends = [one for one in await read_all(store) if one.state is TaskState.COMPLETED]
    assert len(ends) == 1


async def test_a_late_owner_changes_nothing(case: StoreCase) -> None:
    """Its lease ended, another took the task over: whatever it does then is refused."""
    store = case.store
    id = await submit(store)
    late = await claim_one(store, lease=0.001)
    await case.pass_time()
    assert (await store.sweep(LONG)).lapsed == 1
    assert await store.beat([(id, late.attempt)], LONG) == [id]  # nobody has it
    present = await claim_one(store, worker="worker-2")
    assert (present.id, present.attempt) == (id, 2)

    before = await task_of(store, id)
    assert not await store.finish(end_of(late))
    assert not await store.retry(id, late.attempt, 0, attempt_of(late))
    assert not await store.append_output(id, late.attempt, b"late")
    assert await store.beat([(id, late.attempt)], LONG) == [id]
    assert await task_of(store, id) == before

    assert await store.beat([(id, present.attempt)], LONG) == []
    assert await store.finish(end_of(present, data=b"second"))
    assert not await store.finish(end_of(late, data=b"first"))
    response = await store.read_response(id)
    assert response is not None and response.body.data == b"second"


async def test_a_lease_that_ended_holds_until_it_is_given_to_another(case: StoreCase) -> None:
    store = case.store
    id = await submit(store)
    claimed = await claim_one(store, lease=0.001)
    await case.pass_time()
    assert await store.finish(end_of(claimed))
    assert (await store.sweep(LONG)).lapsed == 0
    assert await state_of(store, id) is TaskState.COMPLETED


async def test_beats_renew_the_lease(case: StoreCase) -> None:
    store = case.store
    ids = [await submit(store) for _ in range(3)]
    held = [(one.id, one.attempt) for one in await claim(store, 3, lease=SHORT)]
    assert await store.beat([*held[:2], (ids[2], 9), ("f" * 44, 1)], LONG) == [ids[2], "f" * 44]
    await case.pass_time()
    assert (await store.sweep(LONG)).lapsed == 1
    assert (await store.counts()).processing == 2
    assert await store.beat([], LONG) == []


async def test_a_retry_waits_for_its_delay(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, credentials=b"secret")
    claimed = await claim_one(store)
    record = attempt_of(claimed, "The server answered 503.", status=503)
    assert await store.retry(id, 1, LONG, record)
    shown = await task_of(store, id)
    assert (shown.state, shown.message, shown.attempt) == (TaskState.PENDING, record.message, 1)
    assert shown.next_attempt is not None and shown.next_attempt > shown.created + LONG / 2
    assert await store.read_attempts(id) == [record]
    assert await store.running() == {}
    counts = await store.counts()
    assert (counts.pending, counts.delayed, counts.processing, counts.backlog) == (1, 1, 0, 1)
    assert (await store.sweep(LONG)).due == 0
    assert await claim(store) == []
    assert not await store.retry(id, 1, 0, record)  # it is no longer held


async def test_a_retry_that_is_due_is_claimed_with_its_credentials(case: StoreCase) -> None:
    store = case.store
    id = await submit(store, credentials=b"secret")
    claimed = await claim_one(store)
    await store.retry(id, 1, SHORT, attempt_of(claimed))
    await case.pass_time()
    assert (await store.sweep(LONG)).due == 1
    assert (await task_of(store, id)).next_attempt is None
    assert (await store.counts()).delayed == 0
    again = await claim_one(store)
    assert (again.id, again.attempt, again.credentials) == (id, 2, b"secret")
    assert (await store.sweep(LONG)).due == 0  # not twice


async def test_an_attempt_that_was_handed_back_does_not_count(store: TaskStore) -> None:
    id = await submit(store, max_attempts=2)
    for number in range(1, 6):
        claimed = await claim_one(store)
        assert (claimed.attempt, claimed.attempts_left) == (number, 1)
        record = attempt_of(claimed, "The gateway shuts down.", is_counted=False)
        assert await store.retry(id, number, 0, record)
    assert (await claim_one(store)).attempts_left == 1
    assert [one.is_counted for one in await store.read_attempts(id)] == [False] * 5


async def test_the_last_hundred_attempts_are_kept(store: TaskStore) -> None:
    id = await submit(store, max_attempts=1)
    for number in range(1, 131):
        claimed = await claim_one(store)
        record = attempt_of(claimed, f"Attempt {number}.", is_counted=False)
        assert await store.retry(id, number, 0, record)
    attempts = await store.read_attempts(id)
    assert [one.attempt for one in attempts] == list(range(31, 131))
    assert attempts[-1].message == "Attempt 130."


async def test_a_cancelled_task_is_never_taken(store: TaskStore) -> None:
    id = await submit(store, credentials=b"secret")
    other = await submit(store)
    assert await store.cancel(id, LONG) == (True, TaskState.CANCELLED, "")
    shown = await task_of(store, id)
    assert (shown.state, shown.reason) == (TaskState.CANCELLED, "")
    assert shown.ended is not None and shown.expires == pytest.approx(shown.ended + LONG, abs=0.01)
    assert await claim_all(store) == [other]


async def test_cancelling_takes_the_task_from_its_worker(store: TaskStore) -> None:
    id = await submit(store)
    claimed = await claim_one(store)
    assert await store.cancel(id, LONG) == (True, TaskState.CANCELLED, "")
    assert await store.running() == {}
    assert await store.beat([(id, 1)], LONG) == [id]
    assert not await store.finish(end_of(claimed))
    assert not await store.retry(id, 1, 0, attempt_of(claimed))
    shown = await task_of(store, id)
    assert shown.state is TaskState.CANCELLED
    assert shown.started is not None
    assert await store.read_response(id) is None
    (attempt,) = await store.read_attempts(id)
    assert (attempt.attempt, attempt.worker) == (1, "worker-1")
    assert attempt.pod in PODS


async def test_a_delayed_task_can_be_cancelled(case: StoreCase) -> None:
    store = case.store
    id = await submit(store)
    claimed = await claim_one(store)
    await store.retry(id, 1, SHORT, attempt_of(claimed))
    assert (await store.cancel(id, LONG)).changed
    await case.pass_time()
    assert (await store.sweep(LONG)).due == 0
    shown = await task_of(store, id)
    # Its attempt did not run until now.
    assert (shown.next_attempt, shown.started, shown.attempt) == (None, None, 1)
    assert [one.attempt for one in await store.read_attempts(id)] == [1]
    assert (await store.counts()).delayed == 0
    assert await claim(store) == []


async def test_nothing_leads_out_of_completed_and_cancelled(store: TaskStore) -> None:
    for state in (TaskState.COMPLETED, TaskState.CANCELLED):
        id = await submit(store)
        claimed = await claim_one(store)
        if state is TaskState.COMPLETED:
            await store.finish(end_of(claimed))
        else:
            await store.cancel(id, LONG)
        before, cursor = await store.find(id), await store.feed_end()
        assert await store.cancel(id, 1.0) == (False, state, "")
        assert await store.redrive(id, LONG, b"") == (False, state, "")
        assert await store.move_to_front([id]) == [(False, state, "")]
        assert not await store.finish(end_of(claimed, TaskState.FAILED))
        assert not await store.retry(id, 1, 0, attempt_of(claimed))
        assert not await store.append_output(id, 1, b"x")
        assert await store.find(id) == before
        assert await store.feed_end() == cursor


async def test_credentials_are_deleted_at_the_end(case: StoreCase) -> None:
    store = case.store
    secret = b"-an-encrypted-credential-"
    for end in ("complete", "fail", "cancel", "cancel running"):
        id = await submit(store, credentials=secret)
        if end == "cancel":
            await store.cancel(id, LONG)
            continue
        claimed = await claim_one(store)
        assert claimed.credentials == secret
        if end == "cancel running":
            await store.cancel(id, LONG)
        else:
            state = TaskState.COMPLETED if end == "complete" else TaskState.FAILED
            await store.finish(end_of(claimed, state))
    assert secret not in await case.stored_bytes()
    found = await case.store.find(id)
    assert found is not None and found.has_credentials  # that it had some is still known


async def test_open_tasks_keep_their_credentials(case: StoreCase) -> None:
    await submit(case.store, credentials=b"-an-encrypted-credential-")
    assert b"-an-encrypted-credential-" in await case.stored_bytes()
