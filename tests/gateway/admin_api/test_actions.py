"""Actions on tasks that are chosen by their ids, or by what they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from servedeck.async_queue.tasks import MAX_SELECTED, TaskAction, TaskState
from servedeck.gateway.admin_api import bulk
from servedeck.gateway.admin_api.bulk import Action, Matching
from servedeck.gateway.stores.store import Change
from servedeck.gateway.stores.task_records import CLOSED_REFUSAL
from servedeck.gateway.stores.valkey.store import ValkeyStore
from tests.gateway.admin_api.rig import Rig, running_rig

ACTIONS = "/-/async/tasks/actions"


@pytest.fixture(params=["sqlite", "valkey"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    store = None
    if request.param == "valkey":
        store = ValkeyStore("chat/llama", request.getfixturevalue("valkey_server").url)
    async with running_rig(tmp_path, store) as rig:
        yield rig


async def act(rig: Rig, action: str, **selection: Any) -> dict[str, Any]:
    """What the answer says, without what has its default."""
    answer = await rig.post(f"{ACTIONS}/{action}", json=selection)
    return {name: value for name, value in answer.items() if value}


async def states(rig: Rig, *ids: str) -> list[str | None]:
    """None for a task that is not stored."""
    found = {one.id: one.state.value for one in await rig.context.store.find_many(ids)}
    return [found.get(one) for one in ids]


async def order(rig: Rig) -> list[str]:
    """Ids of the pending tasks as they are taken, which starts them."""
    counts = await rig.context.store.counts()
    return [(await rig.claim()).id for _ in range(counts.pending)]


async def every_state(rig: Rig) -> dict[TaskState, str]:
    """A task of each."""
    found = {TaskState.CANCELLED: await rig.submit()}
    await act(rig, "cancel", ids=[found[TaskState.CANCELLED]])
    found[TaskState.FAILED] = await rig.fail()
    found[TaskState.COMPLETED] = await rig.complete()
    found[TaskState.PROCESSING] = await rig.submit()
    await rig.claim()
    found[TaskState.PENDING] = await rig.submit()
    return found


@pytest.mark.parametrize("is_by_id", [True, False], ids=["ids", "all"])
@pytest.mark.parametrize(
    ("action", "after"),
    [
        ("cancel", {TaskState.PENDING: "cancelled", TaskState.PROCESSING: "cancelled"}),
        ("retry", {TaskState.FAILED: "pending"}),
        ("front", {TaskState.PENDING: "pending"}),
        (
            "forget",
            {TaskState.COMPLETED: None, TaskState.FAILED: None, TaskState.CANCELLED: None},
        ),
    ],
)
async def test_an_action_changes_the_tasks_whose_state_allows_it(
    rig: Rig, action: str, after: dict[TaskState, str | None], is_by_id: bool
) -> None:
    tasks = await every_state(rig)
    chosen = {"ids": list(tasks.values())} if is_by_id else {}
    answer = await act(rig, action, **chosen)
    others = {state.value: 1 for state in tasks if state not in after}
    expected = {"changed": len(after), **({"others": others} if is_by_id else {})}
    assert answer == expected
    expected_states = [after.get(state, state.value) for state in tasks]
    assert await states(rig, *tasks.values()) == expected_states


async def test_the_allowed_states_are_those_that_a_store_allows(rig: Rig) -> None:
    for action in TaskAction:
        tasks = await every_state(rig)
        for state, id in tasks.items():
            answer = await act(rig, action, ids=[id])
            assert (answer.get("changed") == 1) == (state in bulk.ALLOWED[action])
        await act(rig, "cancel")


async def test_those_that_are_not_stored_are_missing(rig: Rig) -> None:
    await rig.complete()
    id = await rig.submit()
    answer = await act(rig, "forget", ids=["0" * 44, id, id, "1" * 44])
    assert answer == {"others": {"pending": 1}, "missing": 2}


async def test_what_ends_meanwhile_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the choice by the filter and the change."""
    ids = [await rig.submit() for _ in range(3)]
    cancel = rig.context.store.cancel
    claimed = await rig.claim()

    async def late(id: str, keep: float) -> Change:
        if id == claimed.id:
            await rig.end(claimed)
        return await cancel(id, keep)

    monkeypatch.setattr(rig.context.store, "cancel", late)
    assert await act(rig, "cancel") == {"changed": 2, "others": {"completed": 1}}
    assert sorted(map(str, await states(rig, *ids))) == ["cancelled", "cancelled", "completed"]


async def test_a_whole_id_chooses_that_task_alone(rig: Rig) -> None:
    """As it does in a page: a caller can name the task of another one in a path."""
    id = await rig.submit()
    await rig.submit(path=f"/v1/chat/completions?after={id}")
    page = await rig.get("/-/async/tasks", params={"q": id})
    assert [one["id"] for one in page["items"]] == [id]
    assert await act(rig, "cancel", q=id) == {"changed": 1}
    assert await states(rig, id) == ["cancelled"]
    assert (await rig.context.store.counts()).pending == 1


async def test_the_tasks_of_a_filter(rig: Rig) -> None:
    wanted = [await rig.fail(model="qwen-3") for _ in range(2)]
    for other in ({"model": "llama"}, {"model": "qwen-3", "owner": "b"}):
        await rig.fail(**other)
    await rig.fail("refused", model="qwen-3")
    chosen = {"q": "model:qwen", "owner": "someone", "reason": "exhausted"}
    assert await act(rig, "retry", **chosen) == {"changed": 2}
    assert sorted(await order(rig)) == sorted(wanted)
    assert (await rig.context.store.counts()).failed == 3


async def test_a_state_narrows_it(rig: Rig) -> None:
    tasks = await every_state(rig)
    assert await act(rig, "cancel", state="processing") == {"changed": 1}
    assert await act(rig, "forget", state="completed") == {"changed": 1}
    pending, completed = tasks[TaskState.PENDING], tasks[TaskState.COMPLETED]
    assert await states(rig, pending, completed) == ["pending", None]


async def test_an_age_narrows_it(rig: Rig) -> None:
    await rig.submit()
    now = await rig.context.store.time()
    assert await act(rig, "cancel", q="age:>1h") == {}
    assert await act(rig, "cancel", q=f"created:>{now + 3600}") == {}
    assert await act(rig, "cancel", q=f"age:<1h created:>{now - 3600}") == {"changed": 1}


async def test_to_the_front_in_the_order_of_their_age(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the ids, and also over several batches and requests."""
    monkeypatch.setattr(bulk, "BATCH", 2)
    others = [await rig.submit(urgency=0) for _ in range(3)]
    ids = [await rig.submit(model="qwen-3", urgency=7) for _ in range(7)]
    assert await act(rig, "front", ids=[*ids[3:], *ids[:3]]) == {"changed": 7}
    position = rig.context.store.position
    assert [await position(one) for one in sorted(ids)] == [0, 1, 2, 3, 4, 5, 6]
    await act(rig, "front", ids=others)
    monkeypatch.setattr(bulk, "SECONDS", 0.0)
    after, requests = "", 0
    while True:
        answer = await act(rig, "front", q="model:qwen", **({"after": after} if after else {}))
        requests += 1
        if not (after := answer.get("next", "")):
            break
    assert requests > 3
    assert await order(rig) == [*sorted(ids), *sorted(others)]


async def test_a_limit_is_kept_and_the_rest_follows(rig: Rig) -> None:
    ids = sorted([await rig.submit() for _ in range(5)])
    first = await act(rig, "cancel", limit=3)
    assert first == {"changed": 3, "next": ids[2]}
    assert await act(rig, "cancel", limit=3, after=first["next"]) == {"changed": 2}


async def test_a_retry_tells_what_it_cannot_do(rig: Rig) -> None:
    ids = [await rig.fail(has_credentials=True), await rig.fail()]
    answer = await act(rig, "retry", ids=ids)
    assert (answer["changed"], answer["refused"]) == (1, 1)
    assert "credentials" in answer["message"]
    assert await act(rig, "retry", ids=ids[:1], credentials="none") == {"changed": 1}
    failed = await rig.fail(urgency=0)
    await rig.post("/-/async/queue/close")
    answer = await act(rig, "retry", ids=[failed])
    assert answer == {"refused": 1, "message": CLOSED_REFUSAL}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"idz": []}', "body"),
        (b'{"state": "done"}', "body"),
        (b'{"reason": "bored"}', "body"),
        (b'{"limit": "3"}', "body"),
        (b'{"limit": 0}', "limit"),
        (b'{"state": "completed"}', "state"),
        (b'{"q": "age:soon"}', "q"),
        (b'{"q": "user:"}', "q"),
        (b'{"q": " "}', "q"),
        (b'{"q": "\xff"}', "body"),
        (b'{"after": "../x"}', "after"),
        (b'{"credentials": "mine"}', "credentials"),
        (b'{"ids": ["../x"]}', "ids"),
        (b'{"ids": ["0"], "q": "llama"}', "ids"),
        (b'{"ids": ["0"], "owner": ""}', "ids"),
        (b'{"ids": [%s]}' % b",".join([b'"0"'] * (MAX_SELECTED + 1)), "ids"),
    ],
)
async def test_a_wrong_selection_changes_nothing(rig: Rig, body: bytes, named: str) -> None:
    await rig.submit()
    status, problem = await rig.ask("POST", f"{ACTIONS}/cancel", data=body)
    assert (status, problem["title"]) == (400, f"Wrong {named}")
    assert (await rig.context.store.counts()).pending == 1


async def test_no_ids_are_no_tasks(rig: Rig) -> None:
    await rig.submit()
    assert await act(rig, "cancel", ids=[]) == {}
    assert (await rig.context.store.counts()).pending == 1


async def test_as_many_as_are_allowed_fit_into_a_request(rig: Rig) -> None:
    wanted = await rig.submit()
    ids = [f"{n:044x}" for n in range(MAX_SELECTED - 1)]
    answer = await act(rig, "cancel", ids=[*ids, wanted])
    assert answer == {"changed": 1, "missing": MAX_SELECTED - 1}


async def test_an_action_that_does_not_exist(rig: Rig) -> None:
    assert (await rig.ask("POST", f"{ACTIONS}/explode", json={}))[0] == 404


async def test_an_action_that_fails_leaves_none_running(rig: Rig) -> None:
    for _ in range(3):
        await rig.submit()
    done = []

    async def change(id: str) -> Change:
        done.append(id)
        await asyncio.sleep(0)
        if len(done) == 3:
            raise ValueError("one of them")
        return Change(True, TaskState.CANCELLED)

    async def run(ids: list[str]) -> list[Change]:
        return await bulk.change_each(change, ids)

    states = frozenset({TaskState.PENDING})
    with pytest.raises(ValueError, match="one of them"):
        await bulk.change_matching(
            rig.context.store, Action(run, states), Matching(states, limit=10)
        )
    assert len(done) == 3
