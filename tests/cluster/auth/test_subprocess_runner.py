from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.cluster.auth.subprocess_runner import kill_running, run_program
from servedeck.cluster.http.errors import CredentialsError
from tests.waiting import LIMIT, until, within


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Where a script notes its processes; what lives of them is ended."""
    file = tmp_path / "pids"
    yield file
    for pid in noted(file):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def noted(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def alive(pid: str) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def sh(script: str, limit: float = LIMIT) -> tuple[int, bytes, bytes]:
    return await run_program(("sh", "-c", script), os.environ, limit, "The plugin")


async def test_what_it_says_and_how_it_ends_is_told() -> None:
    assert await sh("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


async def test_of_endless_output_the_first_mebibyte_is_kept() -> None:
    code, output, errors = await sh("head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2")
    assert (code, len(output), len(errors)) == (0, 1 << 20, 1 << 20)


async def test_one_that_takes_too_long_is_ended_with_its_children(pids: Path) -> None:
    with pytest.raises(CredentialsError, match="did not finish within 2 s"):
        await sh(f"sleep 600 & echo $! $$ > {pids}; wait", limit=2)
    assert len(noted(pids)) in (0, 2), "none where a busy machine did not start it in time"
    await until(lambda: not any(map(alive, noted(pids))))


async def test_all_are_killed_where_the_process_ends_at_once(pids: Path) -> None:
    task = asyncio.create_task(sh(f"sleep 600 & echo $! $$ > {pids}; wait", limit=60))
    await until(lambda: len(noted(pids)) == 2)
    await asyncio.to_thread(kill_running)
    assert (await task)[0] == -signal.SIGKILL
    await until(lambda: not any(map(alive, noted(pids))))
    kill_running()  # nothing is left to kill


@pytest.mark.parametrize("turns", range(8))
async def test_one_that_nobody_waits_for_any_more_is_ended_however_far_it_was(
    pids: Path, turns: int
) -> None:
    task = asyncio.create_task(sh(f"sleep 600 & echo $! $$ > {pids}; wait", limit=LIMIT))
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns == 7:
        await until(lambda: len(noted(pids)) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(task)
    await until(lambda: not any(map(alive, noted(pids))))


async def test_what_it_leaves_in_the_background_is_neither_waited_for_nor_ended(pids: Path) -> None:
    script = f"sleep 600 & echo $! > {pids}; echo token"
    await sh("true")
    before = descriptors()
    assert await sh(script) == (0, b"token\n", b"")
    assert all(map(alive, noted(pids)))
    await until(lambda: descriptors() <= before, "its pipes to be let go")


async def test_a_child_that_left_the_group_keeps_nobody_waiting(pids: Path) -> None:
    script = f"setsid sh -c 'echo $$ > {pids}; exec sleep 600' & wait"
    with pytest.raises(CredentialsError, match="did not finish"):
        await within(sh(script, limit=1))


async def test_no_descriptor_is_left_open() -> None:
    await sh("true")
    before = descriptors()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(5):
            await sh("echo out")
            task = asyncio.create_task(sh("sleep 600", limit=LIMIT))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        del task
        await until(lambda: descriptors() <= before)
        gc.collect()
    assert not [str(one.message) for one in said if "unclosed file" in str(one.message)]


@pytest.mark.parametrize("argv", [("/no/such/program",), ("/",), ("sh\0",)])
async def test_one_that_cannot_be_started_is_said_in_a_sentence(argv: tuple[str, ...]) -> None:
    with pytest.raises(CredentialsError, match=r"^The plugin cannot be started: .*\.$"):
        await run_program(argv, os.environ, 5, "The plugin")
