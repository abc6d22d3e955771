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

from servedeck.cluster.auth.subprocess_runner import kill_subprocesses, run_subprocess
from servedeck.cluster.http.errors import CredentialsError
from tests.waiting import WAIT_SECONDS, wait_until, with_timeout


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """File in which a script records its PIDs; processes that still run are killed on teardown."""
    file = tmp_path / "pids"
    yield file
    for pid in read_pids(file):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def read_pids(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def is_alive(pid: str) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def count_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def run_shell(script: str, limit: float = WAIT_SECONDS) -> tuple[int, bytes, bytes]:
    return await run_subprocess(("sh", "-c", script), os.environ, limit, "The plugin")


async def test_output_and_exit_code_are_returned() -> None:
    assert await run_shell("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


async def test_of_endless_output_the_first_mebibyte_is_kept() -> None:
    code, output, errors = await run_shell(
        "head -c 9000000 /dev/zero; head -c 9000000 /dev/zero >&2"
    )
    assert (code, len(output), len(errors)) == (0, 1 << 20, 1 << 20)


async def test_one_that_takes_too_long_is_ended_with_its_children(pids: Path) -> None:
    with pytest.raises(CredentialsError, match="did not finish within 2 s"):
        await run_shell(f"sleep 600 & echo $! $$ > {pids}; wait", limit=2)
    assert len(read_pids(pids)) in (0, 2), "none where a busy machine did not start it in time"
    await wait_until(lambda: not any(map(is_alive, read_pids(pids))))


async def test_all_are_killed_where_the_process_ends_at_once(pids: Path) -> None:
    task = asyncio.create_task(run_shell(f"sleep 600 & echo $! $$ > {pids}; wait", limit=60))
    await wait_until(lambda: len(read_pids(pids)) == 2)
    await asyncio.to_thread(kill_subprocesses)
    assert (await task)[0] == -signal.SIGKILL
    await wait_until(lambda: not any(map(is_alive, read_pids(pids))))
    kill_subprocesses()  # no processes remain


@pytest.mark.parametrize("turns", range(8))
async def test_a_plugin_that_nobody_waits_for_is_ended_at_any_stage(pids: Path, turns: int) -> None:
    task = asyncio.create_task(
        run_shell(f"sleep 600 & echo $! $$ > {pids}; wait", limit=WAIT_SECONDS)
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns == 7:
        await wait_until(lambda: len(read_pids(pids)) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await with_timeout(task)
    await wait_until(lambda: not any(map(is_alive, read_pids(pids))))


async def test_what_it_leaves_in_the_background_is_neither_waited_for_nor_ended(pids: Path) -> None:
    script = f"sleep 600 & echo $! > {pids}; echo token"
    await run_shell("true")
    before = count_descriptors()
    assert await run_shell(script) == (0, b"token\n", b"")
    assert all(map(is_alive, read_pids(pids)))
    await wait_until(lambda: count_descriptors() <= before, "its pipes to be let go")


async def test_a_child_that_left_the_group_keeps_nobody_waiting(pids: Path) -> None:
    script = f"setsid sh -c 'echo $$ > {pids}; exec sleep 600' & wait"
    with pytest.raises(CredentialsError, match="did not finish"):
        await with_timeout(run_shell(script, limit=1))


async def test_no_descriptor_is_left_open() -> None:
    await run_shell("true")
    before = count_descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(5):
            await run_shell("echo out")
            task = asyncio.create_task(run_shell("sleep 600", limit=WAIT_SECONDS))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        del task
        await wait_until(lambda: count_descriptors() <= before)
        gc.collect()
    assert not [str(one.message) for one in caught if "unclosed file" in str(one.message)]


async def test_a_program_that_is_ended_leaves_no_message_of_asyncio() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    before = count_descriptors()
    task = asyncio.create_task(run_shell("sleep 600"))
    await wait_until(lambda: count_descriptors() > before)
    task.cancel()
    await asyncio.wait([task])
    del task
    with pytest.raises(CredentialsError, match="did not finish"):
        await run_shell("sleep 600", limit=0.1)
    await wait_until(lambda: count_descriptors() <= before)
    gc.collect()
    assert not reported


@pytest.mark.parametrize("argv", [("/no/such/program",), ("/",), ("sh\0",)])
async def test_one_that_cannot_be_started_is_a_one_line_error(argv: tuple[str, ...]) -> None:
    with pytest.raises(CredentialsError, match=r"^The plugin cannot be started: .*\.$"):
        await run_subprocess(argv, os.environ, 5, "The plugin")
