"""Which lines of a log are kept, and how much of it is in memory and on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from servedeck.bundle.log_files import LogSpool, requested_lines
from servedeck.bundle.options import BundleOptions
from servedeck.logs.pod_log import NOTICE_PREFIX


def read(spool: LogSpool, limit: int) -> list[str]:
    content, size = spool.finish(limit)
    data = content.read()
    assert len(data) == size <= limit
    return data.decode().splitlines()


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"line {number:06}" for number in range(start, start + count)]


def test_a_log_within_the_limit_is_kept_whole() -> None:
    spool = LogSpool(10_000, None)
    spool.write(numbered(10))
    spool.write(numbered(10, 10))
    assert read(spool, 10_000) == numbered(20)
    assert spool.dropped_lines == 0


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_oldest_lines_are_dropped_and_counted(batch: int) -> None:
    spool = LogSpool(2_000, None)
    lines = numbered(1000)
    for at in range(0, len(lines), batch):
        spool.write(lines[at : at + batch])
    found = read(spool, 2_000)
    kept = found[1:]
    assert kept == lines[-len(kept) :]
    assert 1_700 < sum(len(line) + 1 for line in kept) <= 2_000
    dropped = len(lines) - len(kept)
    assert spool.dropped_lines == dropped
    assert found[0] == f"{NOTICE_PREFIX}{dropped} older lines left out."


def test_less_room_than_expected_drops_more_lines() -> None:
    spool = LogSpool(10_000, None)
    spool.write(numbered(100))
    assert read(spool, 500)[-1] == "line 000099"
    assert spool.dropped_lines > 60


def test_no_more_than_twice_the_limit_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    trim = LogSpool.trim

    def watched(self: LogSpool, limit: int) -> None:
        sizes.append(self.size)
        trim(self, limit)

    monkeypatch.setattr(LogSpool, "trim", watched)
    spool = LogSpool(300_000, tmp_path)
    for _ in range(30):
        spool.write(numbered(5_000))
    assert 600_000 < max(sizes) < 700_000
    assert list(tmp_path.iterdir()) == []  # the files have no name
    spool.close()


def test_without_all_lines_the_number_of_dropped_ones_is_not_known() -> None:
    spool = LogSpool(2_000, None, counts=False)
    spool.write(numbered(1000))
    assert read(spool, 2_000)[0] == f"{NOTICE_PREFIX}Older lines left out."


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (BundleOptions(tail_lines=7), 7),
        (BundleOptions(tail_lines=None), None),
        (BundleOptions(tail_lines=None, tail_bytes=2_200), 101),
    ],
)
def test_as_many_lines_are_requested_as_fit(options: BundleOptions, lines: int | None) -> None:
    assert requested_lines(options) == lines


def test_no_line_fits() -> None:
    spool = LogSpool(20, None)
    spool.write(["x" * 200])
    content, size = spool.finish(20)
    assert (content.read(), size) == (b"", 0)


@pytest.mark.parametrize("lines", [["a \N{ROCKET}"], ["\ud800"]])
def test_any_text_is_stored(lines: Sequence[str]) -> None:
    spool = LogSpool(1000, None)
    spool.write(list(lines))
    assert len(read(spool, 1000)) == 1
