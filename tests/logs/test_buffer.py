"""The buffer holds what was appended, in memory or in its file, and says what it drops."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servedeck.logs.buffer import LogBlock, LogBuffer
from servedeck.logs.lines import LineBatch, LogLine
from servedeck.logs.spill import SpillSegment
from tests.logs.buffer_setup import SMALL, SPILLING, append_all, make_batch, make_stamp
from tests.waiting import wait_until, with_timeout

ROOT = Path(__file__).parents[2]
TEXTS = st.lists(st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")), max_size=60)


def held(buffer: LogBuffer) -> list[LogLine]:
    return buffer.lines(0, buffer.end)


@pytest.mark.parametrize("limits", [SMALL, SPILLING, {"memory_bytes": 900, "spill_bytes": 0}, {}])
@settings(max_examples=60, deadline=None)
@given(batches=st.lists(TEXTS, max_size=12), data=st.data())
async def test_it_is_a_list_that_forgets_its_oldest_lines(
    limits: dict[str, Any], batches: list[list[bytes]], data: st.DataObject
) -> None:
    buffer, model = LogBuffer(**limits), list[LogLine]()
    try:
        for texts in batches:
            sources = [1 + len(text) % 5 for text in texts]
            model += [
                LogLine(len(model) + at, make_stamp(len(model) + at), text, source)
                for at, (text, source) in enumerate(zip(texts, sources, strict=True))
            ]
            await append_all(buffer, texts, sources)
            assert buffer.end == len(model)
            assert held(buffer) == model[buffer.first :]
        assert (buffer.first > 0) == bool(buffer.error)
        start = data.draw(st.integers(-3, len(model) + 3))
        stop = data.draw(st.integers(-3, len(model) + 3))
        first = buffer.first
        assert buffer.lines(start, stop) == model[max(start, first) : max(stop, 0)]
        for line in model[first:]:
            assert buffer.line(line.number) == line
            block = buffer.block_at(line.number)
            assert block.first <= line.number < block.end
            rest = buffer.block_from(line.number)
            assert rest.first == line.number
            assert [rest.line(at) for at in range(rest.count)] == model[rest.first : rest.end]
    finally:
        buffer.close()


async def test_lines_that_are_not_held_raise_index_error() -> None:
    buffer = LogBuffer(memory_bytes=500, spill_bytes=0)
    for _ in range(20):
        await append_all(buffer, [b"x" * 50])
    assert 0 < buffer.first < buffer.end == 20
    for number in (-1, buffer.first - 1, buffer.end, buffer.end + 5):
        with pytest.raises(IndexError):
            buffer.line(number)
        with pytest.raises(IndexError):
            buffer.block_from(number)
    buffer.close()


async def test_what_does_not_fit_into_memory_is_in_the_file() -> None:
    buffer = LogBuffer(**SPILLING)
    for number in range(400):
        await append_all(buffer, [b"line %d of a log" % number])
        assert buffer.memory_used <= SPILLING["memory_bytes"]
    assert (buffer.first, buffer.error) == (0, "")
    assert buffer.spilled_lines > 300
    assert 0 < buffer.spilled_bytes < 400 * 40
    assert [line.text for line in held(buffer)] == [b"line %d of a log" % n for n in range(400)]
    buffer.close()


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (SMALL, "Older lines were dropped: compressed they take more than 1.46 KiB."),
        (
            {"memory_bytes": 900, "spill_bytes": 0},
            "Older lines were dropped: the log takes more than 900 bytes of memory.",
        ),
    ],
)
async def test_dropped_lines_are_counted_and_the_limit_is_named(
    limits: dict[str, Any], sentence: str
) -> None:
    buffer = LogBuffer(**limits)
    for number in range(600):
        await append_all(buffer, [os.urandom(20).hex().encode() + b" %d" % number])
    assert buffer.error == sentence
    assert buffer.spilled_bytes <= limits["spill_bytes"]
    lines = held(buffer)
    assert [line.number for line in lines] == list(range(buffer.first, 600))
    assert all(line.text.endswith(b" %d" % line.number) for line in lines)
    buffer.close()


async def test_a_batch_that_would_exceed_memory_waits_and_loses_nothing() -> None:
    buffer = LogBuffer(**SPILLING)
    blocked, release = threading.Event(), threading.Event()
    append = SpillSegment.append

    def slow_append(self: SpillSegment, payload: bytes) -> int | None:
        blocked.set()
        release.wait()
        return append(self, payload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SpillSegment, "append", slow_append)
        for number in range(100):
            buffer.append(make_batch([b"line %d" % number]))
        assert blocked.wait(120)
        assert buffer.memory_used > SPILLING["memory_bytes"]
        assert [line.text for line in held(buffer)] == [b"line %d" % n for n in range(100)]
        waiting = asyncio.create_task(buffer.wait_for_room())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not waiting.done()
        release.set()
        await with_timeout(waiting)
    assert buffer.memory_used <= SPILLING["memory_bytes"]
    assert [line.text for line in held(buffer)] == [b"line %d" % n for n in range(100)]
    buffer.close()


@pytest.mark.parametrize("limits", [{}, SPILLING])
async def test_a_line_of_ten_megabytes(limits: dict[str, Any]) -> None:
    buffer = LogBuffer(**limits)
    huge = b"0123456789" * 1_000_000
    await append_all(buffer, [b"before", huge, b"after"])
    await append_all(buffer, [huge])
    await append_all(buffer, [b"x"] * 200)
    texts = [line.text for line in held(buffer)]
    assert texts == [b"before", huge, b"after", huge, *[b"x"] * 200]
    assert buffer.memory_used < (100_000 if limits else 25_000_000)
    buffer.close()


async def test_any_bytes_are_kept_and_shown_without_control_characters() -> None:
    buffer = LogBuffer(**SPILLING)
    garbage = [bytes(byte for byte in range(256) if byte != 0x0A), b"\0" * 30, b"\xff\xfe", b""]
    for _ in range(20):
        await append_all(buffer, garbage)
    assert [line.text for line in held(buffer)] == garbage * 20
    number = 0
    while number < buffer.end:
        block = buffer.block_at(number)
        assert block.text().replace("\n", "").isprintable()
        assert len(block.texts()) == block.count
        number = block.end
    buffer.close()


async def test_a_newline_within_a_text_does_not_shift_the_lines_after_it() -> None:
    buffer = LogBuffer()
    await append_all(buffer, [b"one", b"two\nthree", b"four"])
    assert [line.text for line in held(buffer)] == [b"one", b"two three", b"four"]


@pytest.mark.parametrize(
    "batch",
    [
        LineBatch([], [b"text"], [1]),
        LineBatch([make_stamp(1)], [b"text"], []),
        LineBatch([b"2026"], [b"text"], [1]),
    ],
)
def test_a_batch_that_is_none_is_refused(batch: LineBatch) -> None:
    buffer = LogBuffer()
    with pytest.raises(ValueError, match="timestamp"):
        buffer.append(batch)
    assert buffer.end == 0


async def test_lines_appended_last_are_read_without_those_before() -> None:
    buffer = LogBuffer()
    await append_all(buffer, [b"a", b"b"])
    await append_all(buffer, [b"c", b"d", b"e"])
    assert buffer.block_from(3).data == b"d\ne"
    assert buffer.block_from(2).first == 2
    snapshot = buffer.block_at(0)
    await append_all(buffer, [b"f"])
    assert (snapshot.count, buffer.block_at(0).count) == (5, 6)


def test_a_block_maps_positions_to_lines() -> None:
    block = LogBlock(7, b"ab\n\n\x1b[31mcd", make_stamp(0) * 3, array("H", [1, 2, 3]))
    assert block.text() == "ab\n\ncd"
    assert block.line(2) == LogLine(9, make_stamp(0), b"\x1b[31mcd", 3)


async def fill(buffer: LogBuffer, count: int = 200) -> None:
    for number in range(count):
        await append_all(buffer, [b"%d " % number + os.urandom(16).hex().encode()])


async def test_a_full_disk_drops_the_oldest_lines_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = [3_000]
    append, close = SpillSegment.append, SpillSegment._close

    def append_if_room(self: SpillSegment, payload: bytes) -> int | None:
        if len(payload) > room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        offset = append(self, payload)
        room[0] -= 0 if offset is None else len(payload)
        return offset

    def close_and_free(self: SpillSegment) -> None:
        if not self._closed:
            room[0] += self.size
        close(self)

    monkeypatch.setattr(SpillSegment, "append", append_if_room)
    monkeypatch.setattr(SpillSegment, "_close", close_and_free)
    buffer = LogBuffer(memory_bytes=2_000, spill_bytes=20_000)
    await fill(buffer)
    assert buffer.error == (
        "Older lines were dropped: no file can be written for them (No space left on device)."
    )
    assert 0 < buffer.first < 190
    assert 0 < buffer.spilled_bytes <= 3_000
    lines = held(buffer)
    assert [line.number for line in lines] == list(range(buffer.first, 200))
    assert all(line.text.startswith(b"%d " % line.number) for line in lines)
    buffer.close()


async def test_without_a_directory_lines_are_dropped_and_the_reason_is_said(
    tmp_path: Path,
) -> None:
    buffer = LogBuffer(memory_bytes=2_000, directory=tmp_path / "none")
    await fill(buffer)
    assert "No such file or directory" in buffer.error
    assert buffer.spilled_lines == 0
    assert buffer.memory_used <= 2_000
    assert [line.number for line in held(buffer)] == list(range(buffer.first, 200))
    buffer.close()


async def test_lines_that_cannot_be_read_back_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = LogBuffer(**SPILLING)
    await fill(buffer)
    spilled = buffer.spilled_lines
    assert spilled > 100

    def fail(self: SpillSegment, offset: int, length: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(SpillSegment, "read", fail)
    lines = held(buffer)
    assert [line.number for line in lines] == list(range(buffer.first, 200))
    assert buffer.first == spilled
    assert (
        buffer.error == "Older lines were dropped: they cannot be read back (Input/output error)."
    )
    buffer.close()


async def test_a_limit_on_the_size_of_files_ends_in_dropped_lines() -> None:
    """`ulimit -f`: a real write that fails in the middle of a block."""
    script = """
import asyncio, os, resource
from servedeck.logs.buffer import LogBuffer
from tests.logs.buffer_setup import append_all

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500, 2_500))
    buffer = LogBuffer(memory_bytes=2_000, spill_bytes=1 << 20)
    for number in range(300):
        await append_all(buffer, [b"%d " % number + os.urandom(16).hex().encode()])
    lines = buffer.lines(0, buffer.end)
    assert [line.number for line in lines] == list(range(buffer.first, 300))
    assert all(line.text.startswith(b"%d " % line.number) for line in lines)
    assert 0 < buffer.first < 290, buffer.first
    assert buffer.spilled_lines
    print(buffer.error)

asyncio.run(main())
"""
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (run.stderr, run.returncode) == ("", 0)
    assert "File too large" in run.stdout


def open_files(pid: int, directory: Path) -> list[str]:
    """What a process has open below a directory."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(str(directory)):
            found.append(target)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_has_no_name_and_is_gone_after_kill_9(tmp_path: Path) -> None:
    script = f"""
import asyncio, sys
from pathlib import Path
from servedeck.logs.buffer import LogBuffer
from tests.logs.buffer_setup import append_all

async def main():
    buffer = LogBuffer(memory_bytes=2_000, directory=Path({str(tmp_path)!r}))
    for number in range(300):
        await append_all(buffer, [b"line %d" % number])
    print(buffer.spilled_lines, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 200
        assert len(open_files(process.pid, tmp_path)) == 1
        assert list(tmp_path.iterdir()) == []
        process.send_signal(signal.SIGKILL)
        assert process.wait(120) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_close_frees_memory_and_file(tmp_path: Path) -> None:
    buffer = LogBuffer(memory_bytes=2_000, directory=tmp_path)
    await fill(buffer)
    assert open_files(os.getpid(), tmp_path)
    buffer.close()
    buffer.close()
    await wait_until(lambda: not open_files(os.getpid(), tmp_path), "the file to be closed")
    assert (buffer.first, buffer.end, buffer.memory_used, buffer.spilled_bytes) == (200, 200, 0, 0)
    await append_all(buffer, [b"ignored"])
    assert buffer.end == 200
    assert held(buffer) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_space_of_dropped_lines_is_free_again(tmp_path: Path) -> None:
    buffer = LogBuffer(memory_bytes=2_000, spill_bytes=4_000, directory=tmp_path)
    most = 0
    for _ in range(10):
        await fill(buffer)
        sizes = [
            entry.stat().st_size
            for entry in Path("/proc/self/fd").iterdir()
            if os.path.realpath(entry).startswith(str(tmp_path))
        ]
        most = max(most, sum(sizes))
    assert buffer.first > 1_000
    assert 0 < most < 8_000
    buffer.close()


def test_zstd_is_loaded_when_a_line_leaves_memory() -> None:
    script = "import servedeck.logs.buffer, sys; print([n for n in sys.modules if 'zstd' in n])"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


def test_a_segment_is_closed_with_its_last_block(tmp_path: Path) -> None:
    segment = SpillSegment(tmp_path)
    assert [segment.append(b"one"), segment.append(b"three")] == [0, 3]
    assert segment.read(3, 5) == b"three"
    assert not segment.release()
    assert segment.release()
    assert segment.append(b"more") is None
    with pytest.raises(OSError, match="closed"):
        segment.read(0, 3)


def test_a_write_that_fails_leaves_the_segment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = SpillSegment(tmp_path)
    segment.append(b"one")
    write, writes = os.pwrite, list[int]()

    def write_two_bytes(fd: int, data: bytes, offset: int) -> int:
        if len(writes) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writes.append(offset)
        return write(fd, data[:2], offset)

    monkeypatch.setattr(os, "pwrite", write_two_bytes)
    with pytest.raises(OSError, match="No space"):
        segment.append(b"seconds")
    monkeypatch.undo()
    assert writes == [3, 5]
    assert segment.append(b"two") == 3
    assert segment.read(0, 6) == b"onetwo"
    segment.close()
