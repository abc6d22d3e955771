"""The buffer of a log with a million lines of 200 bytes: appending, memory, search, filter.

    python -m benchmarks.log_buffer

runs it in this process, for which memory is measured, and prints the figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from typing import Any

import psutil

from servedeck.logs.buffer import LogBuffer
from servedeck.logs.filter import LogFilter
from servedeck.logs.lines import LineBatch, ns_to_stamp
from servedeck.logs.query import LineQuery
from servedeck.logs.search import LogSearch

LINES = 1_000_000
LINE_BYTES = 200
_BATCH_LINES = 2_000
_DIFFERENT_BATCHES = 50
_SOURCES = 20
_RARE = b"WARNING 11-29 01:02:03 [client.py:12] request refused: Timeout after 3000 ms"
"""One line in two thousand."""
QUERIES = {
    "text": "Timeout after",
    "text, ignoring case": "timeout after",
    "regular expression": r"timeout after \d+ ms",
    "text of every line": "engine",
    "regular expression without text": r"\d{4,} ms",
}
BOUNDED_QUERIES = ("text", "text, ignoring case", "regular expression")
"""Those with a budget for all lines; the others are the worst of ordinary ones."""


def measure_buffer() -> dict[str, Any]:
    """All figures, from a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.log_buffer"]
    run = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def make_line(chance: random.Random) -> bytes:
    """A line of a model server with as much that differs as such lines have."""
    text = (
        f"INFO 11-29 01:02:03 [loggers.py:{chance.randrange(900)}] Engine "
        f"{chance.randrange(8):03}: request cmpl-{chance.getrandbits(64):016x} took "
        f"{chance.random() * 1000:.3f} ms, {chance.randrange(9000)} prompt tokens, "
        f"{chance.randrange(2000)} generated, cache usage {chance.random():.1%}, "
        f"{chance.randrange(40)} running, {chance.randrange(300)} waiting, "
    )
    return text.ljust(LINE_BYTES, "=")[:LINE_BYTES].encode()


def make_batches(count: int) -> list[LineBatch]:
    chance, start = random.Random(1), 1_764_378_123 * 10**9
    batches = []
    for number in range(count):
        texts = [make_line(chance) for _ in range(_BATCH_LINES)]
        texts[7] = _RARE
        first = number * _BATCH_LINES
        stamps = [ns_to_stamp(start + 9_000 * (first + at)) for at in range(_BATCH_LINES)]
        batches.append(LineBatch(stamps, texts, [1 + at % _SOURCES for at in range(_BATCH_LINES)]))
    return batches


async def measure_append(buffer: LogBuffer) -> dict[str, Any]:
    """Lines appended a second, the longest single call, and resident memory a line, of text and all
    else, that the buffer adds."""
    process, batches = psutil.Process(), make_batches(_DIFFERENT_BATCHES)
    before, took, worst, count = process.memory_info().rss, 0.0, 0.0, 0
    for batch in batches * (LINES // _BATCH_LINES // _DIFFERENT_BATCHES):
        start = time.perf_counter()
        buffer.append(batch)
        called = time.perf_counter() - start
        await buffer.wait_for_room()
        took += time.perf_counter() - start
        worst = max(worst, called)
        count += len(batch.texts)
    assert buffer.end - buffer.first == count == LINES
    held = process.memory_info().rss - before
    return {
        "append_thousand_lines_per_s": round(count / took / 1000),
        "append_worst_ms": round(1000 * worst, 1),
        "memory_bytes_per_line": round(held / count),
        "spilled_lines": buffer.spilled_lines,
        "file_bytes_per_spilled_line": round(
            buffer.spilled_bytes / max(1, buffer.spilled_lines), 1
        ),
    }


def measure_steps(work: LogSearch | LogFilter) -> dict[str, float]:
    """Milliseconds until the first line is found, seconds until all are, and the CPU time of the
    longest step, which other programs on the machine hardly change."""
    begin, first, worst, more = time.perf_counter(), 0.0, 0.0, True
    while more:
        start = time.thread_time()
        more = work.advance()
        worst = max(worst, time.thread_time() - start)
        if not first and work.count:
            first = time.perf_counter() - begin
    return {
        "first_ms": round(1000 * first, 1),
        "all_s": round(time.perf_counter() - begin, 2),
        "worst_step_cpu_ms": round(1000 * worst, 1),
        "lines": work.count,
    }


async def run() -> dict[str, Any]:
    buffer = LogBuffer()
    try:
        result = await measure_append(buffer)
        for name, text in QUERIES.items():
            query = LineQuery.parse(text)
            result[name] = {
                "search": measure_steps(LogSearch(buffer, query, near=buffer.end)),
                "filter": measure_steps(LogFilter(buffer, (query,))),
            }
        return result
    finally:
        buffer.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run()), indent=1))
