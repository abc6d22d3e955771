from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.status.log_errors import (
    LOG_ERRORS,
    find_log_error,
    placeholders,
)
from servedeck.serving.text import cell_width, sanitize
from tests.serving.status.log_lines import OTHERS, REPORTED

ALL_LINES = [(id_, case) for id_, cases in REPORTED.items() for case in cases]
OUT_OF_MEMORY = REPORTED["cuda-out-of-memory"][1].line
TIMEOUT = REPORTED["nccl-timeout"][0].line
TRACEBACK = [
    "(APIServer pid=1) Traceback (most recent call last):",
    '(APIServer pid=1)   File "/usr/local/bin/vllm", line 10, in <module>',
    "(APIServer pid=1)     sys.exit(main())",
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",  # noqa: E501
]
"""The symptom with which vLLM ends, whatever the cause."""


@pytest.mark.parametrize(("id_", "case"), ALL_LINES, ids=[id_ for id_, _ in ALL_LINES])
def test_a_reported_line_is_known(id_: str, case: tuple[str, str]) -> None:
    line, text = case
    found = find_log_error([line])
    assert found is not None
    assert (found.error.id, found.text) == (id_, text)


@pytest.mark.parametrize("id_", REPORTED)
def test_a_line_that_looks_alike_is_not_that_error(id_: str) -> None:
    found = find_log_error([OTHERS[id_]])
    assert found is None or found.error.id != id_


def test_each_row_has_lines_of_its_own_and_a_source() -> None:
    ids = [error.id for error in LOG_ERRORS]
    assert len(set(ids)) == len(ids)
    assert set(ids) == REPORTED.keys() == OTHERS.keys()
    for error in LOG_ERRORS:
        assert error.source and error.words, error.id
        assert error.advice.endswith("."), error.id
        assert not error.text.endswith("."), error.id
        assert cell_width(error.title) <= 30, "it is shown as a badge"


def test_each_text_uses_only_what_its_pattern_finds() -> None:
    for error in LOG_ERRORS:
        known = {*re.compile(error.pattern).groupindex, "match"}
        assert {*placeholders(error.text), *placeholders(error.advice)} <= known, error.id


def test_advice_names_what_was_found() -> None:
    found = find_log_error([REPORTED["model-length-over-kv-cache"][0].line])
    assert found is not None
    assert found.advice.startswith("Lower --max-model-len to at most 34736, raise")
    unknown = find_log_error([REPORTED["model-length-over-kv-cache"][1].line])
    assert unknown is not None
    assert unknown.advice.startswith("Lower --max-model-len, raise")


def test_the_cause_is_found_above_the_symptom() -> None:
    lines = ["INFO 05-01 14:38:00 [core.py:70] Starting", OUT_OF_MEMORY, *TRACEBACK]
    found = find_log_error(lines)
    assert found is not None
    assert (found.error.id, found.line) == ("cuda-out-of-memory", 1)


@pytest.mark.parametrize("lines", [[OUT_OF_MEMORY, TIMEOUT], [TIMEOUT, OUT_OF_MEMORY]])
def test_what_explains_the_others_is_the_cause(lines: list[str]) -> None:
    found = find_log_error(lines)
    assert found is not None
    assert found.error.id == "cuda-out-of-memory"
    assert lines[found.line] == OUT_OF_MEMORY


def test_of_repeated_lines_the_first_that_says_most_counts() -> None:
    gated = [case.line for case in REPORTED["gated-model"]]
    found = find_log_error([gated[4], gated[0], gated[0]])
    assert found is not None
    assert (found.line, "Llama-2-7b" in found.text) == (1, True)


def test_a_warning_counts_only_without_an_error() -> None:
    retried = "WARNING 02-20 10:13:39 utils.py:1] Temporary failure in name resolution; retrying"
    cuda = REPORTED["cuda-error"][0].line
    alone, both = find_log_error([retried]), find_log_error([retried, cuda])
    assert alone is not None
    assert alone.error.id == "dns"
    assert both is not None
    assert both.error.id == "cuda-error"


@pytest.mark.parametrize(
    "line",
    [
        "INFO 06-28 23:40:03 [logger.py:41] Received request cmpl-1: prompt: 'CUDA out of memory'",
        '{"level": "INFO", "message": "the client wrote: No space left on device"}',
        '(APIServer pid=1) INFO:     10.0.0.7:1 - "GET /CUDA out of memory HTTP/1.1" 404 Not Found',
    ],
)
def test_what_a_client_wrote_is_no_error(line: str) -> None:
    assert find_log_error([line]) is None


def test_what_no_row_names_is_not_known() -> None:
    assert find_log_error(TRACEBACK) is None
    assert find_log_error([]) is None


def test_what_a_log_says_is_shown_as_bounded_text() -> None:
    evil = "vllm: error: unrecognized arguments: --x \x1b[31m[bold]{text}" + "y" * 5000
    found = find_log_error([evil])
    assert found is not None
    assert "\x1b" not in found.sentence
    assert "[bold]{text}" in found.text, "it is text, not a template"
    assert cell_width(found.text) < 300


@given(st.text(), st.sampled_from([case.line for _, case in ALL_LINES]), st.text())
def test_any_line_is_searched(before: str, line: str, after: str) -> None:
    lines = sanitize(f"{before}{line}{after}").split("\n")
    found = find_log_error(lines)
    if found is not None:
        assert 0 <= found.line < len(lines)
        assert found.text == sanitize(found.text)


@pytest.mark.parametrize("id_", REPORTED)
def test_no_pattern_needs_more_than_linear_time(id_: str) -> None:
    # a pattern with nested repetition would not end on these
    for case in REPORTED[id_]:
        for part in (case.line[: len(case.line) // 2], case.line[:40]):
            find_log_error([(part + " ") * 2000 + case.line])


@pytest.mark.parametrize("padding", [118, 124, 130, 136, 140])
def test_a_secret_that_the_pattern_cuts_is_masked(padding: int) -> None:
    token = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
    rest = f"--weird {'x' * padding} {token} --x"
    found = find_log_error([f"vllm: error: unrecognized arguments: {rest}"])
    assert found is not None
    assert "hf_abc" not in found.sentence


def test_a_secret_in_the_line_is_masked() -> None:
    line = "vllm: error: unrecognized arguments: --gpu-count 2 --api-key sk-mine-7f3a --seeds 1"
    found = find_log_error([line])
    assert found is not None
    assert "--gpu-count 2 --api-key ••••••••" in found.text
    assert "sk-mine" not in found.sentence
