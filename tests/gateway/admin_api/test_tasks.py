"""Reading tasks, and acting on one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from servedeck.async_queue.tasks import MAX_READ, Task, TaskState
from servedeck.gateway import identity
from servedeck.gateway.admin_api import search
from servedeck.gateway.admin_api.masking import mask_path
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import Content
from tests.gateway.admin_api.rig import OWNER, POD, Rig, running_rig

TASKS = "/-/async/tasks"


async def test_pages_follow_each_other_from_the_newest(rig: Rig) -> None:
    ids = sorted([await rig.submit() for _ in range(5)], reverse=True)
    found, after = [], ""
    while True:
        page = await rig.get(f"{TASKS}?limit=2&after={after}")
        found += [one["id"] for one in page["items"]]
        if not (after := page["next"]):
            break
    assert found == ids


async def test_a_page_has_the_tasks_of_one_state(rig: Rig) -> None:
    failed = await rig.fail()
    await rig.complete()
    await rig.submit()
    page = await rig.get(f"{TASKS}?state=failed")
    assert [one["id"] for one in page["items"]] == [failed]
    assert page["items"][0]["reason"] == "exhausted"
    assert page["next"] == ""


async def test_the_feed_goes_on_where_a_page_was_read(rig: Rig) -> None:
    await rig.submit()
    page = await rig.get(TASKS)
    later = await rig.submit()
    events = await rig.context.store.read_feed(page["feed"], 10, 0)
    assert [one.id for one in events] == [later]


@pytest.mark.parametrize("text", ["EMBED", "/v1/emb", "qwen-3", "Qwen", "It failed"])
async def test_a_text_is_found_in_path_model_and_message(rig: Rig, text: str) -> None:
    wanted = await rig.fail(path="/v1/embeddings", model="qwen-3")
    await rig.submit()
    page = await rig.get(TASKS, params={"q": text})
    assert [one["id"] for one in page["items"]] == [wanted]
    assert page["next"] == ""


async def test_a_page_with_the_oldest_first(rig: Rig) -> None:
    ids = sorted([await rig.submit() for _ in range(5)])
    found, after = [], ""
    while True:
        page = await rig.get(f"{TASKS}?order=oldest&limit=2&after={after}")
        found += [one["id"] for one in page["items"]]
        if not (after := page["next"]):
            break
    assert found == ids
    newest = await rig.get(f"{TASKS}?order=newest&limit=2")
    assert [one["id"] for one in newest["items"]] == ids[:2:-1]


async def test_the_terms_of_a_filter(rig: Rig) -> None:
    failed = await rig.fail(path="/v1/embeddings", model="qwen-3")
    completed = await rig.complete()
    waiting = await rig.submit()
    for text, expected in {
        "status:500": [failed],
        "reason:exhausted path:/v1/emb": [failed],
        "!embeddings": [completed, waiting],
        "attempts:>0 model:llama": [completed],
        "pod:vllm !status:500": [completed],
        'error:"it failed"': [failed],
        f"user:{OWNER}": [failed, completed, waiting],
        "age:>1h": [],
        "age:<1h": [failed, completed, waiting],
    }.items():
        page = await rig.get(TASKS, params={"q": text})
        assert {one["id"] for one in page["items"]} == set(expected), text


@pytest.mark.parametrize("text", ["nofield:x", "age:soon", "attempts:many", '"open', "created:1"])
async def test_a_text_that_is_no_filter_is_refused_with_a_sentence(rig: Rig, text: str) -> None:
    await rig.submit()
    status, problem = await rig.ask("GET", TASKS, params={"q": text})
    assert (status, problem["title"]) == (400, "Wrong q")
    assert problem["detail"].endswith(".")


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(("text", "hours"), [("age:>30m age:<90m", [1]), ("age:>90m", [2, 3])])
async def test_a_search_by_age_reads_only_tasks_of_that_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, text: str, hours: list[int]
) -> None:
    """However many there are that are newer, or older."""
    monkeypatch.setattr(search, "_SCAN_PAGE", 2)
    now = time.time()
    ids: dict[int, list[str]] = {}
    clock = now
    store = SqliteStore(tmp_path / "aged.db", clock=lambda: clock)
    async with running_rig(tmp_path, store) as rig:
        for hour in (3, 2, 1, 0):
            clock = now - hour * 3600
            nanoseconds = int(clock * 1e9)
            with monkeypatch.context() as patch:
                patch.setattr(identity.time, "time_ns", lambda now=nanoseconds: now)
                ids[hour] = [await rig.submit(lifetime=86400.0) for _ in range(6)]
        clock = now
        read: list[str] = []
        page = store.page

        async def counted(*args: Any, **more: Any) -> list[Task]:
            found = await page(*args, **more)
            read.extend(one.id for one in found)
            return found

        store.page = counted  # type: ignore[method-assign]
        found = await rig.get(TASKS, params={"q": text, "order": order})
        expected = sorted(one for hour in hours for one in ids[hour])
        assert sorted(one["id"] for one in found["items"]) == expected
        assert found["next"] == ""
        # and the page of two in which it ends
        assert len(set(read) - set(expected)) <= 2


async def test_a_gateway_whose_clock_is_wrong_finds_tasks_by_age(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ahead.db", clock=lambda: time.time() + 86400.0)
    async with running_rig(tmp_path, store) as rig:
        wanted = await rig.submit()
        assert (await rig.get(TASKS))["time"] > time.time() + 80000.0
        page = await rig.get(TASKS, params={"q": "age:<1h", "order": "oldest"})
        assert [one["id"] for one in page["items"]] == [wanted]


async def test_tasks_are_read_by_their_ids(rig: Rig) -> None:
    wanted = sorted([await rig.submit(), await rig.fail()], reverse=True)
    await rig.submit()
    query = "&".join(f"id={one}" for one in [*reversed(wanted), "0" * 44, wanted[0]])
    page = await rig.get(f"{TASKS}?{query}")
    assert [one["id"] for one in page["items"]] == wanted
    assert page["next"] == "" and page["feed"] and page["time"]
    many = "&".join([f"id={'0' * 44}"] * (MAX_READ - 1) + [f"id={wanted[0]}"])
    assert [one["id"] for one in (await rig.get(f"{TASKS}?{many}"))["items"]] == [wanted[0]]
    assert (await rig.ask("GET", f"{TASKS}?{many}&id={wanted[1]}"))[0] == 400


async def test_the_time_of_a_page_is_that_of_the_store(rig: Rig) -> None:
    id = await rig.submit()
    page = await rig.get(TASKS)
    [task] = page["items"]
    assert (task["id"], task["created"] <= page["time"]) == (id, True)


async def test_an_id_is_found_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SCAN_LIMIT", 0)
    wanted = await rig.submit()
    await rig.submit()
    assert [one["id"] for one in (await rig.get(f"{TASKS}?q={wanted}"))["items"]] == [wanted]
    assert (await rig.get(f"{TASKS}?q={wanted}&state=failed"))["items"] == []
    assert (await rig.get(f"{TASKS}?q={'0' * 44}"))["items"] == []


async def test_a_search_is_bounded_and_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SCAN_LIMIT", 4)
    monkeypatch.setattr(search, "_SCAN_PAGE", 2)
    wanted = await rig.submit(model="rare")
    for _ in range(9):
        await rig.submit()
    pages, found, after = 0, [], ""
    while True:
        page = await rig.get(f"{TASKS}?q=rare&after={after}")
        pages += 1
        found += [one["id"] for one in page["items"]]
        if not (after := page["next"]):
            break
    assert found == [wanted]
    assert pages == 3


async def test_a_search_stops_at_its_limit_and_goes_on_after_it(rig: Rig) -> None:
    ids = sorted([await rig.submit(model="rare") for _ in range(3)], reverse=True)
    first = await rig.get(f"{TASKS}?q=rare&limit=2")
    second = await rig.get(f"{TASKS}?q=rare&limit=2&after={first['next']}")
    assert [one["id"] for one in first["items"] + second["items"]] == ids


@pytest.mark.parametrize(
    "query",
    [
        "state=done",
        "limit=0",
        "limit=x",
        "limit=-1",
        "after=../x",
        f"q={'x' * 2001}",
        "order=up",
        "id=../x",
    ],
)
async def test_a_wrong_parameter_is_named(rig: Rig, query: str) -> None:
    status, problem = await rig.ask("GET", f"{TASKS}?{query}")
    assert status == 400
    assert query.partition("=")[0] in problem["title"]


async def test_the_detail_of_a_task(rig: Rig) -> None:
    await rig.submit()
    id = await rig.submit(has_credentials=True, callback="https://hooks.example.com/x")
    task = await rig.get(f"{TASKS}/{id}")
    assert (task["id"], task["state"], task["owner"]) == (id, "pending", OWNER)
    assert (task["position"], task["has_credentials"], task["has_callback"]) == (1, True, True)


async def test_what_is_not_stored_is_not_found(rig: Rig) -> None:
    for path in ("", "/request", "/response", "/request/head", "/response/head", "/attempts"):
        status, problem = await rig.ask("GET", f"{TASKS}/{'0' * 44}{path}")
        assert (status, problem["title"]) == (404, "No such task"), path
    for action in ("cancel", "retry", "front"):
        assert (await rig.ask("POST", f"{TASKS}/{'0' * 44}/{action}"))[0] == 404


async def test_a_task_without_a_response(rig: Rig) -> None:
    id = await rig.submit()
    for path in ("/response", "/response/head"):
        status, problem = await rig.ask("GET", f"{TASKS}/{id}{path}")
        assert (status, problem["title"], problem["state"]) == (404, "No response", "pending")


async def test_attempts(rig: Rig) -> None:
    id = await rig.complete()
    [attempt] = (await rig.get(f"{TASKS}/{id}/attempts"))["items"]
    assert (attempt["attempt"], attempt["pod"], attempt["status"]) == (1, POD, 200)


# -- bodies -----------------------------------------------------------------------------------


async def read(rig: Rig, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with rig.session.get(rig.url + path, headers=headers) as response:
        return response.status, await response.read(), dict(response.headers)


async def test_bodies_are_as_they_were_stored(rig: Rig) -> None:
    data = bytes(range(256)) * 10
    id = await rig.submit(body=data)
    await rig.end(await rig.claim(), body=b"<script>")
    status, body, headers = await read(rig, f"{TASKS}/{id}/request")
    assert (status, body) == (200, data)
    assert headers["Content-Type"] == "application/octet-stream"
    # never shown as a page, whatever its own content type says
    status, body, headers = await read(rig, f"{TASKS}/{id}/response")
    assert (status, body) == (200, b"<script>")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"


RANGES = [
    ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
    ("bytes=2-5", 206, b"2345", "bytes 2-5/10"),
    ("bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("bytes=-3", 206, b"789", "bytes 7-9/10"),
    ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
    ("bytes=10-", 416, None, "bytes */10"),
    ("bytes=-0", 416, None, "bytes */10"),
    ("bytes=5-2", 200, b"0123456789", None),
    ("bytes=0-1,4-5", 200, b"0123456789", None),
    ("bytes=-", 200, b"0123456789", None),
    ("lines=0-1", 200, b"0123456789", None),
]


@pytest.mark.parametrize("place", ["store", "object"])
@pytest.mark.parametrize(("wanted", "status", "body", "content_range"), RANGES)
async def test_ranges(
    tmp_path: Path,
    place: str,
    wanted: str,
    status: int,
    body: bytes | None,
    content_range: str | None,
) -> None:
    async with running_rig(tmp_path, objects=f"file:{tmp_path / 'objects'}") as rig:
        content: bytes | Content = b"0123456789"
        if place == "object":
            assert rig.context.objects is not None
            await rig.context.objects.put("abc/request", b"0123456789")
            content = Content(object="abc/request", size=10)
        id = await rig.submit(body=content)
        found = await read(rig, f"{TASKS}/{id}/request", Range=wanted)
        assert found[0] == status
        assert body is None or found[1] == body
        assert found[2].get("Content-Range") == content_range


async def test_an_empty_body(rig: Rig) -> None:
    id = await rig.submit(body=b"")
    assert (await read(rig, f"{TASKS}/{id}/request"))[:2] == (200, b"")
    assert (await read(rig, f"{TASKS}/{id}/request", Range="bytes=0-"))[0] == 416


async def test_a_condition_that_cannot_be_checked_gets_the_whole_body(rig: Rig) -> None:
    id = await rig.submit(body=b"0123456789")
    more = {"Range": "bytes=0-1", "If-Range": '"x"'}
    assert (await read(rig, f"{TASKS}/{id}/request", **more))[:2] == (200, b"0123456789")


async def test_an_object_that_is_gone_is_an_error_not_an_empty_body(tmp_path: Path) -> None:
    async with running_rig(tmp_path, objects=f"file:{tmp_path / 'objects'}") as rig:
        id = await rig.submit(body=Content(object="abc/request", size=10))
        status, problem = await rig.ask("GET", f"{TASKS}/{id}/request")
        assert (status, problem["title"]) == (502, "The body cannot be read")


async def test_head_answers_like_get_without_a_body(rig: Rig) -> None:
    id = await rig.submit(body=b"0123456789")
    for path in (f"{TASKS}/{id}/request", TASKS, "/healthz"):
        async with rig.session.head(rig.url + path) as response:
            assert response.status == 200
            assert await response.read() == b""
            assert int(response.headers["Content-Length"]) > 0


# -- what is hidden ---------------------------------------------------------------------------


async def test_values_that_look_secret_are_hidden(rig: Rig) -> None:
    id = await rig.submit(
        path="/v1/chat?api_key=s3cret&n=1",
        headers=[("x-goog-api-key", "s3cret"), ("x-auth-token", "s3cret"), ("accept", "a/b")],
        callback="https://user:s3cret@hooks.example.com/s3cret?x=s3cret",
    )
    await rig.end(await rig.claim())
    texts = []
    for path in ("", f"/{id}", f"/{id}/request/head", f"/{id}/response/head"):
        async with rig.session.get(rig.url + TASKS + path) as response:
            texts.append(await response.text())
    assert not [one for one in texts if "s3cret" in one or "session=1" in one]
    head = await rig.get(f"{TASKS}/{id}/request/head")
    assert head["path"] == "/v1/chat?api_key=[hidden]&n=1"
    assert head["headers"][2] == ["accept", "a/b"]
    assert head["callback"] == "https://hooks.example.com/[hidden]"
    # nor can it be found out by searching for it
    assert (await rig.get(f"{TASKS}?q=s3cret"))["items"] == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1?dim=512&x", "/v1?dim=512&x"),
        ("/v1?%61uth=a&n=1", "/v1?%61uth=[hidden]&n=1"),
        ("/v1?My-KEY=a&keyboard=b", "/v1?My-KEY=[hidden]&keyboard=b"),
        ("/v1?" + "%=&" * 2720, "/v1?[hidden]"),
        ("/v1?" + "%41" * 60 + "=a", "/v1?" + "%41" * 60 + "=[hidden]"),
        ("/v1?token", "/v1?token"),
    ],
)
def test_the_path_that_is_shown(path: str, shown: str) -> None:
    assert mask_path(path) == shown
    assert mask_path(shown) == shown


# -- acting -----------------------------------------------------------------------------------


async def test_cancel(rig: Rig) -> None:
    id = await rig.submit()
    assert (await rig.post(f"{TASKS}/{id}/cancel"))["changed"] == 1
    assert (await rig.get(f"{TASKS}/{id}"))["state"] == "cancelled"
    status, problem = await rig.ask("POST", f"{TASKS}/{id}/cancel")
    assert (status, problem["state"], problem["task"]) == (409, "cancelled", id)
    page = rig.context.metrics.page()
    assert b'servedeck_async_ended_total{outcome="cancelled"} 1.0' in page


async def test_retry_without_credentials(rig: Rig) -> None:
    id = await rig.fail()
    assert (await rig.post(f"{TASKS}/{id}/retry"))["changed"] == 1
    claimed = await rig.claim()
    assert (claimed.id, claimed.attempt, claimed.credentials) == (id, 2, b"")
    status, problem = await rig.ask("POST", f"{TASKS}/{id}/retry")
    assert (status, problem["state"]) == (409, "processing")


async def test_a_retry_does_not_drop_credentials_silently(rig: Rig) -> None:
    id = await rig.fail(has_credentials=True)
    status, problem = await rig.ask("POST", f"{TASKS}/{id}/retry")
    assert (status, problem["state"]) == (409, "failed")
    assert "credentials" in problem["detail"]
    assert (await rig.post(f"{TASKS}/{id}/retry?credentials=none"))["changed"] == 1
    assert (await rig.claim()).credentials == b""


async def test_a_retry_uses_the_authorization_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "authorization"
    file.write_text("Bearer service\n")
    async with running_rig(tmp_path, service_authorization_file=file) as rig:
        with_some = await rig.fail(has_credentials=True)
        without = await rig.fail()
        for id in (with_some, without):
            await rig.post(f"{TASKS}/{id}/retry")
        claimed = {one.id: one for one in [await rig.claim(), await rig.claim()]}
        value = rig.context.identity.decrypt(with_some, claimed[with_some].credentials)
        assert value == [("authorization", "Bearer service")]
        # who had no rights at first gets none by a retry
        assert claimed[without].credentials == b""


async def test_to_the_front(rig: Rig) -> None:
    await rig.submit()
    last = await rig.submit()
    assert (await rig.post(f"{TASKS}/{last}/front"))["changed"] == 1
    assert (await rig.claim()).id == last
    status, problem = await rig.ask("POST", f"{TASKS}/{last}/front")
    assert (status, problem["state"]) == (409, TaskState.PROCESSING)
