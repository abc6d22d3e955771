"""The file of the SQLite store: who may use it, and what happens when it cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.sqlite.schema import connect
from servedeck.gateway.stores.sqlite.store import SqliteStore
from servedeck.gateway.stores.store import (
    START,
    StoreFullError,
    StoreUnavailableError,
    SubmitOutcome,
    TaskStore,
)
from tests.gateway.stores.cases import (
    DEPTH,
    LONG,
    SqliteCase,
    claim,
    claim_one,
    end_of,
    new_task,
    state_of,
    submit,
    task_of,
)
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout

ROOT = Path(__file__).parents[4]


def database_of(store: TaskStore) -> Any:
    assert isinstance(store, SqliteStore)
    return store._db


async def pragma(store: TaskStore, text: str) -> None:
    """Of the connection that writes; outside a transaction, as some need."""
    await database_of(store).write(lambda tx: None)
    database_of(store)._writing.execute(f"PRAGMA {text}").fetchall()


@contextlib.asynccontextmanager
async def held_writer(store: TaskStore) -> AsyncIterator[None]:
    """Its thread does nothing, so that what is asked meanwhile is one batch."""
    begun, release = threading.Event(), threading.Event()

    def hold(tx: object) -> None:
        begun.set()
        release.wait(WAIT_SECONDS)

    holding = asyncio.create_task(database_of(store).write(hold))
    await wait_until(begun.is_set, "the writer to be held")
    try:
        yield
    finally:
        release.set()
        with contextlib.suppress(StoreUnavailableError):
            await holding


@pytest.fixture
def store(sqlite_case: SqliteCase) -> TaskStore:
    return sqlite_case.store


async def test_what_waits_shares_one_commit(sqlite_case: SqliteCase, store: TaskStore) -> None:
    commits: list[int] = []
    database = database_of(store)
    on_commit = database._on_commit
    database._on_commit = lambda *ends: [commits.append(ends[0]), on_commit(*ends)]
    async with held_writer(store):
        submits = [asyncio.create_task(store.submit(new_task(), DEPTH)) for _ in range(400)]
        await asyncio.sleep(0)
    results = await with_timeout(asyncio.gather(*submits))
    assert {one.outcome for one in results} == {SubmitOutcome.ACCEPTED}
    assert len(commits) == 2  # that of the held operation, and theirs


async def test_one_that_fails_does_not_undo_the_others(store: TaskStore) -> None:
    # SQLite has no lists; that is found when the rest of the task has been written.
    bad = new_task(idempotency_key="k", fingerprint=["f"])
    async with held_writer(store):
        tasks = [new_task(), new_task(), bad, new_task()]
        submits = [asyncio.create_task(store.submit(one, DEPTH)) for one in tasks]
        await asyncio.sleep(0)
    results = await with_timeout(asyncio.gather(*submits, return_exceptions=True))
    assert isinstance(results[2], sqlite3.ProgrammingError | sqlite3.InterfaceError)
    assert [await state_of(store, one.id) for one in tasks] == [
        TaskState.PENDING,
        TaskState.PENDING,
        None,
        TaskState.PENDING,
    ]
    assert (await store.counts()).pending == 3


async def test_a_call_that_was_given_up_is_not_done(store: TaskStore) -> None:
    given_up = new_task()
    async with held_writer(store):
        call = asyncio.create_task(store.submit(given_up, DEPTH))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    await submit(store)
    assert await store.find(given_up.id) is None


async def test_a_store_that_does_not_answer_says_so(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "tasks.db", timeout=0.05)
    # Held directly: the call that holds it would time out as well.
    await case.store.open()
    begun, release = threading.Event(), threading.Event()

    def hold(tx: object) -> None:
        begun.set()
        release.wait(WAIT_SECONDS)

    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        await database_of(case.store).write(hold)
    await wait_until(begun.is_set)
    with pytest.raises(StoreUnavailableError, match="did not answer within"):
        await case.store.submit(new_task(), DEPTH)
    release.set()
    await case.close()


# -- who may use it -------------------------------------------------------------------------------


async def test_the_files_are_for_their_user_alone(sqlite_case: SqliteCase) -> None:
    await submit(sqlite_case.store)
    files = list(sqlite_case.path.parent.glob("tasks.db*"))
    assert len(files) == 4  # with the log, its index, and the lock
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}


async def test_a_second_store_of_one_file_is_refused(sqlite_case: SqliteCase) -> None:
    second = sqlite_case.new_store()
    with pytest.raises(StoreUnavailableError, match="is in use by another gateway"):
        await second.open()
    await submit(sqlite_case.store)
    await sqlite_case.store.close()
    await second.open()
    assert (await second.counts()).pending == 1
    await second.close()


async def test_opening_can_be_tried_again(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "later" / "tasks.db")
    with pytest.raises(StoreUnavailableError, match="No such file or directory"):
        await case.store.open()
    with pytest.raises(StoreUnavailableError, match="not open"):
        await case.store.counts()
    assert "not open" in await case.store.check()
    case.path.parent.mkdir()
    case.path.write_bytes(b"this is a text, not a database of SQLite" * 100)
    with pytest.raises(StoreUnavailableError, match="not a SQLite file"):
        await case.store.open()
    case.path.unlink()
    await case.store.open()
    await case.store.open()
    assert await case.store.check() == ""
    await case.close()
    await case.close()


async def test_a_file_of_a_version_without_tokens_is_used(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "tasks.db")
    await case.store.open()
    ended, waiting = await submit(case.store), await submit(case.store)
    await case.store.finish(end_of(await claim_one(case.store)))
    await case.store.close()
    with contextlib.closing(sqlite3.connect(case.path)) as db:
        for name in ("prompt_tokens", "completion_tokens"):
            db.execute(f"ALTER TABLE task DROP COLUMN {name}")
        db.commit()
    await case.reopen()
    assert (await task_of(case.store, ended)).prompt_tokens is None
    claimed = await claim_one(case.store)
    assert claimed.id == waiting
    await case.store.finish(end_of(claimed, prompt_tokens=3, completion_tokens=4))
    await case.reopen()
    shown = await task_of(case.store, waiting)
    assert (shown.prompt_tokens, shown.completion_tokens) == (3, 4)
    await case.close()


async def test_a_file_of_another_version_is_not_touched(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "tasks.db")
    with contextlib.closing(sqlite3.connect(case.path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailableError, match="another version of servedeck"):
        await case.store.open()


async def test_closing_wakes_those_who_wait(sqlite_case: SqliteCase) -> None:
    store = sqlite_case.store
    await submit(store)
    end = await store.feed_end()
    reader = asyncio.create_task(store.read_feed(end, 10, 10 * WAIT_SECONDS))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await with_timeout(reader)
    with pytest.raises(StoreUnavailableError):
        await store.read_feed(START, 10, 0)
    with pytest.raises(StoreUnavailableError):
        await store.submit(new_task(), DEPTH)


# -- a disk that cannot be written ----------------------------------------------------------------


async def test_new_tasks_leave_room_for_the_end_of_the_others(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "tasks.db")
    await case.store.open()
    ids = [await submit(case.store) for _ in range(3)]
    await case.store.close()
    case.store = case.new_store(reserve=1 << 60)
    await case.store.open()
    with pytest.raises(StoreFullError):
        await case.store.submit(new_task(), DEPTH)
    assert (await case.store.check()).startswith("warning: ")
    taken = await claim(case.store, 3)
    assert [one.id for one in taken] == ids
    for claimed in taken:
        assert await case.store.finish(end_of(claimed))
    assert (await case.store.counts()).completed == 3
    await case.close()


async def test_a_full_disk_refuses_tasks_until_it_has_room(store: TaskStore) -> None:
    first = await submit(store)
    await pragma(store, "max_page_count = 1")  # the pages that it has
    accepted, refused = 1, 0
    while not refused:
        try:
            await submit(store, data=b"x" * 20_000)
            accepted += 1
        except StoreFullError as error:
            assert error.retry_after >= 5
            refused += 1
    assert (await store.counts()).pending == accepted
    with pytest.raises(StoreUnavailableError, match="full"):
        await store.finish(end_of(await claim_one(store), data=b"x" * 100_000))
    assert await state_of(store, first) is TaskState.PROCESSING
    await pragma(store, "max_page_count = 1000000")
    assert (await store.counts()).processing == 1
    await submit(store, data=b"x" * 20_000)
    assert await store.check() == ""


async def test_what_is_small_has_room_though_something_larger_has_not(store: TaskStore) -> None:
    await submit(store, data=b"x" * 40_000)
    await store.finish(end_of(await claim_one(store), keep=0.0))
    await store.sweep(LONG)  # its pages are free
    await pragma(store, "max_page_count = 1")
    async with held_writer(store):
        sizes = (10, 1_000_000, 20)
        submits = [
            asyncio.create_task(store.submit(new_task(data=b"y" * size), DEPTH)) for size in sizes
        ]
        await asyncio.sleep(0)
    results = await with_timeout(asyncio.gather(*submits, return_exceptions=True))
    assert isinstance(results[1], StoreFullError)
    assert [getattr(results[n], "outcome", results[n]) for n in (0, 2)] == 2 * [
        SubmitOutcome.ACCEPTED
    ]
    assert (await store.counts()).pending == 2


async def test_a_file_that_becomes_read_only_is_opened_anew(store: TaskStore) -> None:
    id = await submit(store)
    await pragma(store, "query_only = 1")
    task = new_task()
    with pytest.raises(StoreUnavailableError, match="read-only"):
        await store.submit(task, DEPTH)
    # The connection was dropped; the next one writes.
    assert (await store.submit(task, DEPTH)).outcome is SubmitOutcome.ACCEPTED
    assert (await claim_one(store)).id == id
    assert await store.check() == ""


_IO_ERROR = """
import asyncio, resource, signal, sys
from pathlib import Path
from servedeck.gateway.stores.store import StoreFullError, StoreUnavailableError
from tests.gateway.stores.cases import DEPTH, SqliteCase, claim_one, end_of, new_task, submit

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    case = SqliteCase(Path(sys.argv[1]))
    await case.store.open()
    first = await submit(case.store)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    for _ in range(3):
        try:
            await case.store.submit(new_task(), DEPTH)
        except (StoreUnavailableError, StoreFullError) as error:
            print(type(error).__name__, error)
        else:
            raise AssertionError("stored")
    assert await case.store.check()
    assert (await case.store.counts()).pending == 1  # reading goes on
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    second = await submit(case.store)
    assert await case.store.check() == ""
    for id in (first, second):
        claimed = await claim_one(case.store)
        assert claimed.id == id
        assert await case.store.finish(end_of(claimed))
    assert (await case.store.counts()).completed == 2
    await case.close()

asyncio.run(main())
"""


async def test_the_store_goes_on_after_errors_of_the_disk(tmp_path: Path) -> None:
    """In a process of its own, as its limit of the size of files is what makes writes fail."""
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _IO_ERROR, str(tmp_path / "tasks.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=2 * WAIT_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("Error ") == 3


async def test_a_file_that_is_deleted_or_replaced_takes_no_tasks(
    sqlite_case: SqliteCase, store: TaskStore, tmp_path: Path
) -> None:
    await submit(store)
    file = database_of(store)._path
    kept = tmp_path / "kept"
    file.rename(kept)
    with pytest.raises(StoreUnavailableError, match="was deleted"):
        await submit(store)
    assert "was deleted" in await store.check()
    assert not file.exists()
    file.write_bytes(b"")
    with pytest.raises(StoreUnavailableError, match="was replaced"):
        await submit(store)
    assert file.read_bytes() == b""
    kept.rename(file)
    await submit(store)
    assert await store.check() == ""
    assert (await store.counts()).pending == 2


@pytest.mark.parametrize("for_writing", [True, False])
def test_temporary_files_are_in_memory(tmp_path: Path, for_writing: bool) -> None:
    """A process that is killed leaves none behind, with parts of bodies."""
    connect(tmp_path / "tasks.db", for_writing=True).close()
    with contextlib.closing(connect(tmp_path / "tasks.db", for_writing=for_writing)) as db:
        assert db.execute("PRAGMA temp_store").fetchone() == (2,)
