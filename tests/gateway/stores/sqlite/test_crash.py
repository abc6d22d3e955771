"""Real processes that are killed, and a power cut: what was answered is there afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.async_queue.tasks import TaskState
from servedeck.gateway.stores.store import StoreUnavailableError
from tests.gateway.stores.cases import (
    LONG,
    SqliteCase,
    claim,
    claim_one,
    end_of,
    read_all,
    submit,
    task_of,
)
from tests.waiting import WAIT_SECONDS

ROOT = Path(__file__).parents[4]


@contextlib.contextmanager
def writer(path: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gateway.stores.sqlite.writer", str(path)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
        if process.stdout is not None:
            process.stdout.close()


def kill_after(process: subprocess.Popen[str], lines: int) -> dict[str, set[str]]:
    """The ids of what it had said, by what it was, when it was killed after so many lines."""
    assert process.stdout is not None
    said: list[str] = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read().splitlines(keepends=True)
    result: dict[str, set[str]] = {"submitted": set(), "completed": set()}
    for line in said:
        if line.endswith("\n"):
            what, _, id = line.strip().partition(" ")
            result[what].add(id)
    return result


async def read_states(case: SqliteCase) -> dict[str, TaskState]:
    states: dict[str, TaskState] = {}
    after = ""
    while page := await case.store.page(None, after, 1000):
        states |= {one.id: one.state for one in page}
        after = page[-1].id
    return states


async def assert_is_whole(case: SqliteCase, said: dict[str, set[str]]) -> None:
    """Nothing that was answered is missing, and all that is open can be ended, once each."""
    states = await read_states(case)
    assert said["submitted"] <= states.keys()
    assert all(states[id] is TaskState.COMPLETED for id in said["completed"])
    while (await case.store.sweep(LONG)).is_full:
        pass
    assert (await case.store.counts()).processing == 0
    while taken := await claim(case.store, 100):
        for claimed in taken:
            assert await case.store.finish(end_of(claimed))
    assert set((await read_states(case)).values()) == {TaskState.COMPLETED}
    counts = await case.store.counts()
    assert counts.completed == len(states)
    ends = [one.id for one in await read_all(case.store) if one.state is TaskState.COMPLETED]
    assert sorted(ends) == sorted(states)


async def test_nothing_that_was_answered_is_lost_when_the_process_is_killed(
    tmp_path: Path,
) -> None:
    case = SqliteCase(tmp_path / "tasks.db")
    said: dict[str, set[str]] = {"submitted": set(), "completed": set()}
    for lines in (1, 30, 100, 300):
        with writer(case.path) as process:
            for what, ids in kill_after(process, lines).items():
                said[what] |= ids
    await case.store.open()
    await assert_is_whole(case, said)
    await case.close()


async def test_nothing_that_was_answered_is_lost_in_a_power_cut(tmp_path: Path) -> None:
    """The write-ahead log is cut back to what had been synced."""
    server = pytest.importorskip("tests.gateway.valkey_server", exc_type=ImportError)
    notes = tmp_path / "notes"
    notes.mkdir()
    shim = server.build_shim(tmp_path)
    case = SqliteCase(tmp_path / "tasks.db")
    with writer(case.path, LD_PRELOAD=str(shim), FSYNC_NOTES=str(notes)) as process:
        # Less than a checkpoint, after which the log is written from its beginning.
        said = kill_after(process, 200)
    log = case.path.with_name("tasks.db-wal")
    synced = int((notes / log.name).read_text())
    assert 0 < synced <= log.stat().st_size
    os.truncate(log, synced)
    await case.store.open()
    await assert_is_whole(case, said)
    await case.close()


async def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path / "tasks.db")
    with writer(case.path) as process:
        with pytest.raises(StoreUnavailableError, match=rf"in use .*\(process {process.pid}\)"):
            await case.store.open()
        process.kill()
        process.wait(WAIT_SECONDS)
        await case.store.open()
    await case.close()


async def test_tasks_of_a_process_that_is_gone_are_given_back_at_once(tmp_path: Path) -> None:
    """Their leases are long, but the lock says that nobody has them."""
    case = SqliteCase(tmp_path / "tasks.db")
    await case.store.open()
    id = await submit(case.store)
    claimed = await claim_one(case.store, lease=LONG)
    await case.reopen()
    assert (await case.store.sweep(LONG)).lapsed == 1
    assert (await task_of(case.store, id)).state is TaskState.PENDING
    assert not await case.store.finish(end_of(claimed))
    await case.close()
