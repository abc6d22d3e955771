"""Where a log goes on, against a model: the lines of a file, and what a kubelet returns of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.logs import resume
from servedeck.logs.line_splitter import LineSplitter, ParsedLines, StampParser
from servedeck.logs.resume import ResumeMismatchError, ResumePoint
from tests.logs.fake_kubelet import make_line, stamp_of


def respond(file: list[bytes], since: str) -> bytes:
    """What a kubelet returns: every line that is not earlier, in the order of the file."""
    second = since.removesuffix("Z").encode()
    return b"".join([line + b"\n" for line in file if stamp_of(line)[:19] >= second])


class Reader:
    """Receives a log in responses that break off, as a stream does."""

    def __init__(self, point: ResumePoint) -> None:
        self.point = point
        self.received: list[bytes] = []
        self.is_found: bool | None = None

    def deliver(self, part: ParsedLines) -> None:
        self.point.record(part)
        self.received += part.raw

    def begin(self, data: bytes) -> None:
        """The first response, broken off after `data`."""
        lines = LineSplitter().feed(data)
        if lines:
            self.deliver(StampParser().parse(lines))

    def resume(self, file: list[bytes], after: int | None = None, chunk: int = 1 << 20) -> None:
        """One more response, broken off after that number of bytes."""
        for seek in (False, True):
            cut = self.point.begin(seek=seek)
            data = respond(file, cut.since_time)[:after]
            splitter, parser = LineSplitter(), StampParser(self.point.last_stamp)
            try:
                for at in range(0, len(data), chunk):
                    lines = splitter.feed(data[at : at + chunk])
                    for part in cut.feed(parser.parse(lines)) if lines else []:
                        self.deliver(part)
            except ResumeMismatchError:
                continue
            if after is None and not cut.is_decided:
                for part in cut.finish(is_final=True):
                    self.deliver(part)
            self.is_found = cut.is_found
            return
        raise AssertionError("a response is sought in only once")


# Times in steps of a third of a second that may go back, in bursts of one nanosecond; few texts, so
# that many lines are the same.
steps = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 7, -1, -2, -9])
files = st.lists(st.tuples(steps, st.sampled_from("aab")), min_size=1, max_size=60)


def make_file(items: list[tuple[int, str]], *, unique: bool = False) -> list[bytes]:
    at, lines = 3000, []
    for number, (step, text) in enumerate(items):
        at += step
        name = f"{text}{number}" if unique else text
        lines.append(make_line(at // 3, name, at % 3 * 333_333_333))
    return lines


@given(files, st.data())
def test_a_log_that_breaks_off_anywhere_is_received_exactly(
    items: list[tuple[int, str]], data: st.DataObject
) -> None:
    file = make_file(items)
    reader = Reader(ResumePoint())
    written = data.draw(st.integers(1, len(file)))
    whole = respond(file[:written], "1970-01-01T00:00:00Z")
    reader.begin(whole[: data.draw(st.integers(0, len(whole)))])
    if not reader.received:
        reader.begin(whole)
    # what is written while the connection is lost is not earlier than the overlap
    while written < len(file) and data.draw(st.booleans()):
        written = data.draw(st.integers(written, len(file)))
        if not is_reachable(reader, file[:written]):
            return
        reader.resume(
            file[:written], data.draw(st.integers(0, 3000)), data.draw(st.integers(1, 200))
        )
        assert reader.received == file[: len(reader.received)]
    if is_reachable(reader, file):
        reader.resume(file)
        assert reader.received == file


def is_reachable(reader: Reader, file: list[bytes]) -> bool:
    """Whether no line that was not received is earlier than what is requested: a clock that is set
    back by more than a second while the connection is lost hides lines from any request."""
    since = reader.point.begin().since_time.removesuffix("Z").encode()
    return all(line[:19] >= since for line in file[len(reader.received) :])


@given(files, st.integers(1, 20), st.data())
def test_the_last_lines_and_what_follows_are_received_exactly(
    items: list[tuple[int, str]], tail: int, data: st.DataObject
) -> None:
    file = make_file(items, unique=True)
    written = data.draw(st.integers(1, len(file)))
    begin = max(0, written - tail)
    reader = Reader(ResumePoint(is_tail=True))
    reader.begin(respond(file[begin:written], "1970-01-01T00:00:00Z"))
    # lines before the last ones may be later than these by less than a second
    highest = max(line[:30] for line in file[begin:written])
    later = [line for line in file[:begin] if line[:19] > highest[:19]]
    since = reader.point.begin().since_time.removesuffix("Z").encode()
    if later or any(line[:19] < since for line in file[written:]):
        return
    for _ in range(2):
        reader.resume(file[:written], data.draw(st.integers(0, 3000)))
    reader.resume(file)
    assert reader.received == file[begin:]


def test_every_byte_of_a_line_and_every_line_of_a_burst() -> None:
    file = [make_line(0, "before"), *[make_line(5, "same", 7)] * 6, make_line(5, "after", 8)]
    whole = respond(file, "1970-01-01T00:00:00Z")
    for first in range(len(file[0]) + 1, len(whole) + 1):
        for second in range(0, len(whole), 13):
            reader = Reader(ResumePoint())
            reader.begin(whole[:first])
            reader.resume(file, second)
            reader.resume(file)
            assert reader.received == file


def test_a_burst_while_the_connection_is_lost() -> None:
    burst = [make_line(5, "same", 7)] * 20
    reader = Reader(ResumePoint())
    reader.begin(respond(burst[:8], "1970-01-01T00:00:00Z"))
    reader.resume(burst)
    assert reader.received == burst


@pytest.mark.parametrize("kept", range(11))
def test_a_rotated_file_goes_on_where_it_is(kept: int) -> None:
    """The current file begins within what was received, so nothing is missing."""
    old = [make_line(number // 4, f"line {number}", number) for number in range(20)]
    new = [make_line(6 + number // 4, f"line {20 + number}", number) for number in range(20)]
    reader = Reader(ResumePoint())
    reader.begin(respond(old, "1970-01-01T00:00:00Z"))
    reader.resume([*old[len(old) - kept :], *new])
    assert reader.received == [*old, *new]
    assert reader.is_found is (kept > 0)


def test_lines_of_another_log_are_all_new_and_that_is_said() -> None:
    reader = Reader(ResumePoint())
    reader.begin(respond([make_line(0, "old")], "1970-01-01T00:00:00Z"))
    new = [make_line(9, "new"), make_line(9, "newer")]
    reader.resume(new)
    assert (reader.received[1:], reader.is_found) == (new, False)


def test_the_rest_of_a_line_is_not_a_line() -> None:
    """A long line is several records in the file; of one that begins before the requested time the
    kubelet returns the rest, without a time."""
    file = [make_line(9, "a"), make_line(9, "b")]
    reader = Reader(ResumePoint())
    reader.begin(respond(file, "1970-01-01T00:00:00Z"))
    cut = reader.point.begin()
    parsed = StampParser().parse([b"rest of a long line", *file, make_line(9, "c")])
    assert [part.texts for part in cut.feed(parsed)] == [[b"c"]]
    assert cut.is_found


def test_a_message_instead_of_a_log_is_received() -> None:
    reader = Reader(ResumePoint())
    reader.begin(respond([make_line(9, "a")], "1970-01-01T00:00:00Z"))
    cut = reader.point.begin()
    assert cut.feed(StampParser().parse([b"failed to watch"])) == []
    assert [part.texts for part in cut.finish()] == [[b"failed to watch"]]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "_MAX_SECONDS", 50)
    point = ResumePoint()
    for _ in range(1000):
        point.record(StampParser().parse([make_line(3, "same")] * 100))
    assert len(point._seconds) == 1
    file = [make_line(number, f"line {number}") for number in range(4, 1000)]
    point.record(StampParser().parse(file))
    assert len(point._seconds) == 50
    # the number of lines since an earlier second is not known any more: the place is sought
    back = [make_line(100, "clock set back"), make_line(100, "goes on")]
    point.record(StampParser().parse(back[:1]))
    reader = Reader(point)
    reader.resume([*file, *back])
    assert reader.received == back[1:]


def test_what_is_held_while_the_place_is_sought_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resume, "_MAX_HELD_BYTES", 10_000)
    reader = Reader(ResumePoint(is_tail=True))
    file = [make_line(5, f"line {number:06}", number) for number in range(2000)]
    reader.begin(respond(file[-50:], "1970-01-01T00:00:00Z"))
    file.append(make_line(5, "new", 3000))
    cut = reader.point.begin()
    for at in range(0, 2000, 100):
        assert cut.feed(StampParser().parse(file[at : at + 100])) == []
        assert cut.held_lines < 400
    assert [part.texts for part in cut.feed(StampParser().parse(file[2000:]))] == [[b"new"]]


def test_a_number_of_lines_that_does_not_fit_is_not_relied_on() -> None:
    """The kubelet leaves out a record of the file that it cannot read any more."""
    file = [make_line(5, text, at) for at, text in enumerate("abcdefg")]
    for left_out in range(3):
        for written in range(4, 8):
            reader = Reader(ResumePoint())
            reader.begin(respond(file[:4], "1970-01-01T00:00:00Z"))
            reader.resume([*file[:left_out], *file[left_out + 1 : written]])
            assert reader.received == file[:written]
            assert reader.is_found or written == 4  # nothing came of which it could be told


def test_nothing_received_is_nothing_to_go_on_from() -> None:
    with pytest.raises(ValueError, match="nothing was received"):
        ResumePoint().begin()


@example(1)
@given(st.integers(0, 10_000))
def test_a_busy_log_with_any_breaks(seed: int) -> None:
    rng = random.Random(seed)
    file = [
        make_line(number // 100, f"line {number % 7}", number % 100 // 9) for number in range(900)
    ]
    reader = Reader(ResumePoint())
    whole = respond(file[:300], "1970-01-01T00:00:00Z")
    reader.begin(whole[: rng.randrange(40, len(whole))])
    for _ in range(5):
        reader.resume(file[: rng.randrange(300, 900)], rng.randrange(15_000), rng.randrange(1, 500))
    reader.resume(file)
    assert reader.received == file
