"""The log files of the fake kubelet; needs no control plane."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.logs.lines import normalize_stamp, stamp_to_ns
from tests.control_plane.kubelet_log_files import (
    InstanceLog,
    LogOptions,
    LogReader,
    format_stamp,
    parse_time,
)

SECOND = 10**9
NOW = 1_796_000_000 * SECOND
SEOUL = timezone(timedelta(hours=9))

texts = st.binary(max_size=8).filter(lambda text: b"\n" not in text)
entries = st.lists(
    st.tuples(st.integers(0, 4 * SECOND).map(lambda offset: NOW + offset), texts, st.booleans()),
    max_size=12,
)


def read_all(log: InstanceLog, options: LogOptions) -> bytes:
    reader = LogReader(log, options)
    return b"".join(iter(reader.read, b""))


def expected_output(
    written: list[tuple[int, bytes, bool]], options: LogOptions, log: InstanceLog
) -> bytes:
    """`ReadLogs`, entry by entry."""
    if options.tail is not None:
        written = written[max(0, len(written) - options.tail) :]
    out, is_new_line = b"", True
    for ns, text, is_partial in written:
        content = text if is_partial else text + b"\n"
        if options.since_ns is None or ns >= options.since_ns:
            if options.timestamps and is_new_line:
                out += format_stamp(ns, log.zone) + b" "
            out += content
        is_new_line = content == b"" or content.endswith(b"\n")
    return out if options.limit_bytes is None else out[: options.limit_bytes]


@given(
    entries,
    st.booleans(),
    st.none() | st.integers(0, 14),
    st.none() | st.integers(0, 4).map(lambda second: NOW + second * SECOND),
    st.none() | st.integers(1, 400),
    st.sampled_from([UTC, SEOUL]),
    st.booleans(),
)
def test_a_file_is_read_as_by_the_kubelet(
    written: list[tuple[int, bytes, bool]],
    timestamps: bool,
    tail: int | None,
    since: int | None,
    limit: int | None,
    zone: timezone,
    joined: bool,
) -> None:
    log = InstanceLog("containerd://1", zone)
    batch: list[tuple[int, bytes]] = []

    def flush() -> None:
        log.append([text for _, text in batch], [ns for ns, _ in batch])
        batch.clear()

    for ns, text, is_partial in written:
        if is_partial:
            flush()
            log.append_partial(text, ns)
        else:
            batch.append((ns, text))
            if not joined:
                flush()
    flush()
    options = LogOptions(timestamps=timestamps, tail=tail, since_ns=since, limit_bytes=limit)
    assert read_all(log, options) == expected_output(written, options, log)


def test_a_follower_continues_over_a_rotation_and_others_see_the_new_file_only() -> None:
    log = InstanceLog("containerd://1")
    log.append([b"one", b"two"], [NOW, NOW])
    follower = LogReader(log, LogOptions(follow=True))
    assert follower.read() == b"one\ntwo\n"
    log.append([b"three"], [NOW])
    log.rotate()
    assert read_all(log, LogOptions()) == b""
    log.append([b"four"], [NOW])
    assert follower.read() == b"three\nfour\n"
    assert read_all(log, LogOptions()) == b"four\n"
    assert log.line_count == 4


def test_a_follower_misses_a_file_between_two_rotations() -> None:
    log = InstanceLog("containerd://1")
    follower = LogReader(log, LogOptions(follow=True))
    for text in (b"one", b"two", b"three"):
        log.append([text], [NOW])
        log.rotate()
    log.append([b"four"], [NOW])
    assert follower.read() == b"one\nfour\n"


def test_a_line_has_no_newline_in_it() -> None:
    with pytest.raises(ValueError):
        InstanceLog("containerd://1").append([b"one\ntwo"], [NOW])


@given(st.integers(0, 4_000_000_000 * SECOND), st.sampled_from([UTC, SEOUL]))
def test_a_timestamp_has_nine_digits_in_any_zone(ns: int, zone: timezone) -> None:
    stamp = format_stamp(ns, zone)
    assert len(stamp) == (30 if zone is UTC else 35)
    assert stamp.endswith(b"Z" if zone is UTC else b"+09:00")
    normalized = normalize_stamp(stamp)
    assert normalized is not None and stamp_to_ns(normalized) == ns
    assert parse_time(stamp.decode()) == ns - ns % 1000


def test_of_two_times_the_later_one_counts() -> None:
    options = LogOptions.parse({"sinceTime": "2001-01-01T00:00:00Z", "sinceSeconds": "60"})
    recent = LogOptions.parse({"sinceSeconds": "60"})
    assert options.since_ns and recent.since_ns
    assert 0 <= recent.since_ns - options.since_ns < 60 * SECOND
    assert LogOptions.parse({}) == LogOptions()
