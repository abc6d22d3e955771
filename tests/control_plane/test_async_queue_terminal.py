"""The whole program in a terminal, on the async queue of a real gateway."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks.measure import clean_environment
from servedeck.async_queue.tasks import TaskState
from tests.control_plane.async_gateway import (
    MODEL,
    SERVING,
    AsyncGateway,
    folder,
    gateway,
)
from tests.control_plane.inference_process import ANSWER
from tests.control_plane.test_command import SERVEDECK_PATH
from tests.tui.terminal import PtyTerminal
from tests.waiting import WAIT_SECONDS

__all__ = ["folder", "gateway"]

SIZE = (80, 24)
_SHIM = Path(__file__).with_name("clock_shim.c")
_HOURS = 3


class Terminal:
    """`PtyTerminal` for tests that have an event loop."""

    def __init__(self, pty: PtyTerminal) -> None:
        self.pty = pty

    @property
    def text(self) -> str:
        return self.pty.text

    async def press(self, keys: str) -> None:
        self.pty.press(keys)

    async def wait(self, condition: Callable[[str], object], what: str) -> None:
        await asyncio.to_thread(self.pty.wait, lambda: condition(self.text), what, WAIT_SECONDS)

    async def wait_for_text(self, *texts: str) -> None:
        """Until all the texts are on the screen, broken over lines or not."""

        def is_shown(text: str) -> bool:
            flowing = " ".join(text.split())
            return all(one in flowing for one in texts)

        await self.wait(is_shown, f"{texts}")

    async def open_tab(self) -> None:
        await self.wait(lambda text: f"{SERVING} " in text and "Ready" in text, "the list")
        await self.press("\r")
        await self.wait_for_text("4 Async Queue")
        await self.press("4")


@asynccontextmanager
async def terminal(
    gateway: AsyncGateway, kubeconfig: Path, home: Path, more: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    env = clean_environment(kubeconfig, str(home)) | dict(more or {})
    pty = PtyTerminal([SERVEDECK_PATH, "-n", gateway.namespace], SIZE, env)
    try:
        yield Terminal(pty)
    finally:
        pty.close()


async def test_a_queue_is_drained_by_keys_at_80x24(
    gateway: AsyncGateway, kubeconfig: Path, tmp_path: Path
) -> None:
    await gateway.inference.configure(is_open=False)
    await gateway.submit([MODEL] * 12)
    async with terminal(gateway, kubeconfig, tmp_path) as screen:
        await screen.open_tab()
        await screen.wait_for_text("Queue Depth 8", "Processing 4 of 4")
        await screen.press("D")
        await screen.wait_for_text("Cancel 8 pending tasks", f"Type {SERVING} to confirm")
        await screen.press(f"{SERVING}\r")
        await screen.wait_for_text("Queue Depth 0", "8 tasks cancelled.")
        await gateway.inference.configure(is_open=True)
        await screen.wait_for_text("Processing 0 of 4", "Completed")
        await screen.press("fff")
        await screen.wait(
            lambda text: text.count("✓ Completed ") == 4 and "- Cancelled" not in text,
            "completed tasks alone",
        )
        await screen.press("\r")
        await screen.wait_for_text("1 Summary", "Completed")
        await screen.press("4")
        await screen.wait_for_text(ANSWER)
        await screen.press("\x1b")
        await screen.wait_for_text("Queue Depth 0")
        # Back from the status, from the page, and to the shell.
        await screen.press("qqq")
        await screen.wait(lambda _: screen.pty.has_exited(), "the end")
    states = [one.state for one in await gateway.stored_tasks()]
    assert states.count(TaskState.COMPLETED) == 4
    assert states.count(TaskState.CANCELLED) == 8


@pytest.fixture(scope="session")
def clock_shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip("no C compiler to move the clock")
    library = tmp_path_factory.mktemp("clock") / "clock_shim.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", library, _SHIM, "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


async def test_the_ages_on_a_machine_whose_clock_is_wrong(
    gateway: AsyncGateway, kubeconfig: Path, tmp_path: Path, clock_shim: Path
) -> None:
    """They are by the clock of the store, as are those of a filter."""
    await gateway.submit([MODEL] * 2)
    moved = {"LD_PRELOAD": str(clock_shim), "CLOCK_OFFSET": str(_HOURS * 3600)}
    async with terminal(gateway, kubeconfig, tmp_path, moved) as screen:
        await screen.open_tab()
        await screen.wait_for_text("✓ Completed", "Queue Depth 0")
        rows = [line for line in screen.text.split("\n") if "✓ Completed" in line]
        assert len(rows) == 2
        assert not any(f"{_HOURS}h" in row or f"{60 * _HOURS}m" in row for row in rows), rows
        await screen.press("/age:<1h\r")
        await screen.wait_for_text("age:<1h", "✓ Completed")
        await screen.press("/\x15age:>1h\r")
        await screen.wait_for_text("No task matches the filter.")
