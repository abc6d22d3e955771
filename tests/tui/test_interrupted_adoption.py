"""The dashboard in a terminal that ends between the two writes of an adoption."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck.demo.process import spawn
from tests.commands.test_interruption import HoldingProxy, holding_proxy, run_again
from tests.tui.sessions import SERVEDECK, TerminalSession
from tests.waiting import wait_until

NOTICE = (
    "Adopt Deployment research/mistral-7b: Interrupted. Written: Deployment research/mistral-7b. "
    "Not known: HTTPRoute research/mistral-7b, whose response did not come; look at it first."
)


@pytest.fixture
def cluster() -> Iterator[Path]:
    with spawn() as file:
        yield file


async def begin_adoption(session: TerminalSession, proxy: HoldingProxy) -> None:
    """Adopt with a route, and wait until the route is being created."""
    proxy.first = 2
    wait = asyncio.to_thread
    await wait(session.wait_text, "mistral-7b")
    session.press("/mistral-7b\r")
    await wait(session.wait, lambda: "bge-m3" not in session.text, "the filtered list")
    session.press("A")
    await wait(session.wait_text, "y  Adopt")
    session.press("r")
    await wait(session.wait_text, "HTTPRoute mistral-7b is created")
    session.press("y")
    await wait_until(lambda: proxy.held, "the second write")


@pytest.mark.parametrize(
    ("end", "code"), [("ctrl+c", 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_what_was_written_is_said_at_the_end_and_the_same_again_does_the_rest(
    cluster: Path, tmp_path: Path, end: str | signal.Signals, code: int
) -> None:
    async with holding_proxy(cluster, tmp_path) as (proxy, config):
        argv = [*SERVEDECK, "-A", "--kubeconfig", str(config)]
        session = TerminalSession(argv, (200, 50), {"HOME": str(tmp_path)})
        try:
            await begin_adoption(session, proxy)
            if isinstance(end, signal.Signals):
                os.kill(session.pid, end)
            else:
                session.press("\x03")
                sentence = "it is finished first; press ctrl+c again"
                await asyncio.to_thread(session.wait_text, sentence)
                session.press("\x03")
            assert await asyncio.to_thread(session.exit_code) == code
            said = " ".join(session.raw.rpartition(b"\x1b[?1049l")[2].decode().split())
            assert NOTICE in said
        finally:
            session.close()
    again = await run_again(cluster, "adopt research/mistral-7b --route -y")
    assert again == (0, "")
