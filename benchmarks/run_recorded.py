"""Run the servedeck command, and record how long each step of its event loop takes.

A step is one callback, or a task until it waits. Those of at least MIN_SECONDS are written to the
file named in the environment, once a second and at the end: `Step`s as JSON, one a line.
"""

from __future__ import annotations

import asyncio.events
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from widgets import time_chart

RECORD_ENV = "SERVEDECK_BENCHMARK_STEPS"
MIN_SECONDS = 0.0002


class Step(NamedTuple):
    start: float
    """On the monotonic clock, in seconds."""
    end: float
    cpu: float
    """Seconds of CPU time of the thread of the event loop."""
    name: str
    plots: int = 0
    """Charts that were plotted in it."""


def read_steps(file: Path) -> list[Step]:
    """All steps so far."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [Step(*json.loads(line)) for line in lines if line.endswith("]")]


def _name(handle: Any) -> str:
    callback = handle._callback
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        frame = getattr(coroutine, "cr_frame", None)
        pump = type(frame.f_locals.get("self")).__name__ if frame is not None else ""
        return f"{pump}: {getattr(coroutine, '__qualname__', type(coroutine).__name__)}"
    return getattr(callback, "__qualname__", type(callback).__name__)


def record(path: str) -> None:
    """Record the steps of every event loop from now on."""
    run = asyncio.events.Handle._run  # type: ignore[attr-defined]
    steps: list[Step] = []
    plots = 0
    build_plot = time_chart.build_plot

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal plots
        plots += 1
        return build_plot(*args, **options)

    def recorded(handle: Any) -> None:
        nonlocal plots
        plots = 0
        cpu, start = time.thread_time(), time.monotonic()
        run(handle)
        took = time.thread_time() - cpu
        if took >= MIN_SECONDS:
            steps.append(Step(start, time.monotonic(), took, _name(handle), plots))

    def write() -> None:
        with Path(path).open("a", buffering=1) as file:
            while True:
                time.sleep(1)
                count = len(steps)
                file.writelines(json.dumps(one) + "\n" for one in steps[:count])
                file.flush()
                del steps[:count]

    time_chart.build_plot = counted
    asyncio.events.Handle._run = recorded  # type: ignore[attr-defined]
    threading.Thread(target=write, daemon=True).start()


if __name__ == "__main__":
    record(os.environ[RECORD_ENV])
    from servedeck.cli import main

    sys.argv[0] = "servedeck"
    sys.exit(main())
