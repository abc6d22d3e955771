"""The samples of /metrics pages."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from servedeck.promql import exposition
from servedeck.promql.exposition import Sample, parse_page, parse_value

NAME = "vllm:request_success_total"


def values(page: bytes, *names: str) -> list[float]:
    return [one.value for one in parse_page(page, names or (NAME,))]


def read(line: str) -> Sample | None:
    """The sample of a line with the name "a"."""
    return next(iter(parse_page(line.encode(), ["a"])), None)


def test_samples_of_the_wanted_names_are_found_wherever_they_are():
    page = b'a 1\n# TYPE a counter\nvllm:request_success_total{engine="0"} 12.0\nb 2\na{x="y"} 3'
    assert parse_page(page, ["a", NAME]) == [
        Sample("a", (), 1.0),
        Sample("a", (("x", "y"),), 3.0),
        Sample(NAME, (("engine", "0"),), 12.0),
    ]


def test_a_name_is_compared_as_a_whole():
    page = b"up_total 1\nup 2\nup_total_created 3\nxup 4"
    assert values(page, "up") == [2.0]


def test_label_values_are_unescaped_and_sorted():
    line = r'a{z="}",model_name="a\"b\\c\nd",} 1'
    assert read(line) == Sample("a", (("model_name", 'a"b\\c\nd'), ("z", "}")), 1.0)


def test_an_empty_label_is_one_that_is_absent():
    assert read('a{x="",y="1"} 1') == Sample("a", (("y", "1"),), 1.0)


def test_times_and_exemplars_are_not_values():
    page = (
        b'a 1 1700000000000\na{x="y"} 2 # {trace_id="}"} 0.5 1700000000.5\n'
        b'a{x="z"} 3 1700000000.5 # {trace_id="q"} 7\na{x="E"} 4 # EOF\n# EOF\n'
    )
    assert values(page, "a") == [1.0, 2.0, 3.0, 4.0]


def test_nan_and_infinity_are_values_and_what_is_too_large_is_none():
    page = b'a NaN\na{x="1"} +Inf\na{x="2"} -inf\na{x="3"} 1e999\na{x="4"} nan'
    found = values(page, "a")
    assert found[1:3] == [math.inf, -math.inf]
    assert len(found) == 4 and all(math.isnan(found[at]) for at in (0, 3))


def test_of_several_samples_of_a_series_the_first_counts():
    assert values(b'a{x="1",y="2"} 1\na{y="2",x="1"} 2\na 3\na 4', "a") == [1.0, 3.0]


def test_lines_that_do_not_follow_the_format_are_skipped():
    page = (
        b'a{x=1} 1\na{x="1} 1\na 0x1\na 1_000\na\na nix\na{x="1" y="2"} 1\na{1x="1"} 1\n'
        b'a{x="1",x="2"} 1\na{__name__="b"} 1\na{x="\xff"} 1\na\x00 1\na 5\r\na{b} 1\n'
    )
    assert values(page, "a") == [5.0]


def test_a_page_is_read_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(exposition, "MAX_SAMPLES", 3)
    assert len(values(b"".join(b'a{x="%d"} 1\n' % one for one in range(10)), "a")) == 3
    too_long = b'a{x="' + b"y" * exposition.MAX_LINE_BYTES + b'"} 1\na 2'
    assert values(too_long, "a") == [2.0]


def test_new_series_are_read_up_to_a_limit_and_the_others_from_the_next_page(monkeypatch):
    page = b"".join(b'a{budget="%03d"} 1\n' % one for one in range(100))
    monkeypatch.setattr(exposition, "MAX_NEW_BYTES", 50 * 18)
    first = len(values(page, "a"))
    assert 40 < first < 60
    assert len(values(page, "a")) == 100


def test_a_hostile_page_is_read_in_bounds():
    parts = [
        b'a{x="' + b"y" * (10 << 20) + b'"} 1',
        b"a{" * 100_000,
        b'a{x="' + b'\\"' * 2000 + b'"} 1',
        *(b'a{x="%d"} 1' % one for one in range(1_000_000)),
        b"\x00\xff\xfe",
    ]
    found = parse_page(b"\n".join(parts), ["a"])
    assert 0 < len(found) <= exposition.MAX_SAMPLES


def test_pages_of_the_library_are_read_in_both_formats():
    registry = CollectorRegistry()
    Counter("c", "C", ["x"], registry=registry).labels('a"\\\nb').inc(3, {"trace_id": "t"})
    Gauge("g_bytes", "G", registry=registry, unit="bytes").set(2.5)
    Histogram("h", "H", buckets=(0.5, 1), registry=registry).observe(0.7, {"trace_id": "t"})
    names = ["c_total", "g_bytes", "h_bucket", "h_sum", "h_count"]
    wanted = [
        Sample("c_total", (("x", 'a"\\\nb'),), 3.0),
        Sample("g_bytes", (), 2.5),
        Sample("h_bucket", (("le", "0.5"),), 0.0),
        Sample("h_bucket", (("le", "1.0"),), 1.0),
        Sample("h_bucket", (("le", "+Inf"),), 1.0),
        Sample("h_sum", (), 0.7),
        Sample("h_count", (), 1.0),
    ]
    assert parse_page(generate_latest(registry), names) == wanted
    assert parse_page(generate_openmetrics(registry), names) == wanted


@given(st.binary(max_size=300), st.sampled_from(["a", NAME, "", "a{", "\n"]))
def test_any_page_is_read(page: bytes, name: str):
    for sample in parse_page(page + b"\na " + page, [name, "a"]):
        assert sample.name in (name, "a")


FRAGMENTS = st.lists(
    st.sampled_from(
        ["a", "{", "}", '"', "\\", "=", ",", " ", "1", "x", "# ", "NaN", "+Inf", "e5", ".", "\n"]
    ),
    max_size=30,
).map("".join)


@given(FRAGMENTS)
@example('a{x="' + "\\" * 25)
@example("a{" + "x" * 30)
def test_any_line_is_read(line: str):
    sample = read(line)
    assert sample is None or isinstance(sample.value, float)


label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not name.startswith("__")
)
label_values = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=40
)


@given(
    st.dictionaries(label_names, label_values | st.just("a\nb"), max_size=4),
    st.floats(allow_nan=False),
)
def test_a_sample_that_was_written_is_read(labels: dict[str, str], value: float):
    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inner = ",".join(f'{key}="{escape(text)}"' for key, text in labels.items())
    page = f"b 1\n{NAME}{{{inner}}} {value!r}\nb 2".encode()
    assert parse_page(page, [NAME]) == [Sample(NAME, tuple(sorted(labels.items())), value)]


@given(st.text(max_size=20))
def test_a_value_is_a_number_or_none(text: str):
    value = parse_value(text)
    assert value is None or isinstance(value, float)
