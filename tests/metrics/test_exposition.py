"""The parser of /metrics pages."""

from __future__ import annotations

import math

from hypothesis import example, given
from hypothesis import strategies as st

from servedeck.metrics import exposition
from servedeck.metrics.exposition import Sample, parse_line, parse_samples, parse_value

NAME = "vllm:request_success_total"


def values(page: bytes, *names: str) -> list[float | None]:
    return [one.value for one in parse_samples(page, names or (NAME,))]


def test_samples_of_the_wanted_names_are_found_wherever_they_are():
    page = b'a 1\n# TYPE a counter\nvllm:request_success_total{engine="0"} 12.0\nb 2\na 3'
    assert list(parse_samples(page, ["a", NAME])) == [
        Sample("a", (), 1.0),
        Sample("a", (), 3.0),
        Sample(NAME, (("engine", "0"),), 12.0),
    ]


def test_a_name_is_compared_as_a_whole():
    page = b"up_total 1\nup 2\nup_total_created 3\nxup 4"
    assert values(page, "up") == [2.0]


def test_label_values_are_unescaped_and_sorted():
    line = r'a{z="}",model_name="a\"b\\c\nd",} 1'
    assert parse_line(line) == Sample("a", (("model_name", 'a"b\\c\nd'), ("z", "}")), 1.0)


def test_times_and_exemplars_are_not_values():
    page = b'a 1 1700000000000\na{x="y"} 2 # {trace_id="}"} 0.5 1700000000.5\na 3 # EOF'
    assert values(page, "a") == [1.0, 2.0, 3.0]


def test_what_is_not_a_number_has_no_value():
    page = b"a NaN\na +Inf\na -Inf\na 1e999"
    assert values(page, "a") == [None, None, None, None]


def test_lines_that_do_not_follow_the_format_are_skipped():
    page = b'a{x=1} 1\na{x="1} 1\na 0x1\na 1_000\na\na nan\na{x="1" y="2"} 1\na{1x="1"} 1\na 5\r\n'
    assert values(page, "a") == [5.0]


def test_a_page_is_read_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(exposition, "MAX_SAMPLES", 3)
    assert len(values(b"a 1\n" * 10, "a")) == 3
    too_long = b'a{x="' + b"y" * exposition.MAX_LINE_BYTES + b'"} 1\na 2'
    assert values(too_long, "a") == [2.0]


@given(st.binary(max_size=300), st.sampled_from(["a", NAME, "", "a{", "\n"]))
def test_any_page_is_read(page: bytes, name: str):
    for sample in parse_samples(page + b"\na " + page, [name, "a"]):
        assert sample.name in (name, "a")
        assert sample.value is None or math.isfinite(sample.value)


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
    sample = parse_line(line)
    assert sample is None or sample.value is None or math.isfinite(sample.value)


label_names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
label_values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))


@given(
    st.dictionaries(label_names, label_values | st.just("a\nb"), max_size=4),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_a_sample_that_was_written_is_read(labels: dict[str, str], value: float):
    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inner = ",".join(f'{key}="{escape(text)}"' for key, text in labels.items())
    page = f"b 1\n{NAME}{{{inner}}} {value!r}\nb 2".encode()
    assert list(parse_samples(page, [NAME])) == [Sample(NAME, tuple(sorted(labels.items())), value)]


@given(st.text(max_size=20))
def test_a_value_is_a_number_or_none(text: str):
    value = parse_value(text)
    assert value is None or math.isfinite(value)
