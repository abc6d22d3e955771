"""The figures of an answer, in whatever pieces it comes."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence

import pytest

from servedeck.detail.inference_answer import (
    MAX_EVENT_LENGTH,
    MAX_JSON_BYTES,
    MAX_RAW_BYTES,
    MAX_TEXT_LENGTH,
    InferenceAnswer,
)
from servedeck.detail.inference_body import error_message, failure_message
from servedeck.detail.inference_text import figure_texts

SSE = [("Content-Type", "text/event-stream; charset=utf-8")]
JSON = [("content-type", "application/json")]
DONE = b"data: [DONE]\n\n"


def chunk(text: str = "", reason: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    body = {"model": "llama", "choices": [choice], **more}
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def usage(tokens: int) -> bytes:
    return chunk_of({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": tokens}})


def chunk_of(body: object) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()


def streamed(pieces: Sequence[bytes], headers: Sequence[tuple[str, str]] = SSE) -> InferenceAnswer:
    """The answer whose headers come after a second, and then a piece each second."""
    answer = InferenceAnswer()
    answer.begin(200, headers, 1.0)
    for number, piece in enumerate(pieces):
        answer.feed(piece, 2.0 + number)
    answer.finish(2.0 + len(pieces))
    return answer


WHOLE = [chunk(""), chunk("Hé"), chunk("llo"), chunk(" you"), chunk("", "stop"), usage(7), DONE]


def test_the_figures_of_a_stream() -> None:
    answer = streamed(WHOLE)
    figures = answer.figures
    assert (figures.status, figures.headers_seconds, figures.total_seconds) == (200, 1.0, 9.0)
    assert figures.first_token_seconds == 3.0, "the chunk with the role has no text"
    assert (figures.tokens, figures.tokens_are_counted, figures.prompt_tokens) == (7, False, 5)
    assert figures.tokens_per_second == pytest.approx(6 / 2), "6 tokens in the 2 s after the first"
    assert (figures.finish_reason, figures.model) == ("stop", "llama")
    assert (answer.text, answer.problem, answer.notes) == ("Héllo you", "", [])
    assert figure_texts(figures, is_stream=True) == [
        "time to first token 3 s",
        "3.0 tokens/s after the first token",
        "7 tokens (usage)",
        "headers after 1 s",
        "total 9 s",
        "HTTP 200",
        "finish reason stop",
        "model llama",
    ]


def test_without_usage_the_chunks_are_counted_and_it_is_said() -> None:
    answer = streamed([chunk("a"), chunk("b"), chunk("c", "length"), DONE])
    figures = answer.figures
    assert (figures.tokens, figures.tokens_are_counted) == (3, True)
    assert figures.tokens_per_second == pytest.approx(1.0)
    assert "3 tokens (counted chunks)" in figure_texts(figures, is_stream=True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_the_pieces_do_not_matter(size: int, newline: bytes) -> None:
    """Also where one splits a character, a line end or an event."""
    whole = (b": ping\n\nevent: x\n" + b"".join(WHOLE)).replace(b"\n", newline)
    answer = streamed([whole[at : at + size] for at in range(0, len(whole), size)])
    assert (answer.text, answer.problem) == ("Héllo you", "")
    assert (answer.figures.tokens, answer.figures.finish_reason) == (7, "stop")
    assert answer.is_done


def test_all_in_one_piece_has_no_rate() -> None:
    figures = streamed([b"".join(WHOLE)]).figures
    assert (figures.tokens, figures.tokens_per_second) == (7, None)
    assert streamed([chunk("a", "stop"), DONE]).figures.tokens_per_second is None


def test_reasoning_and_tools_are_text_and_given_once() -> None:
    delta = {"reasoning_content": "hm", "reasoning": "hm", "content": None}
    call = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    pieces = [chunk_of({"choices": [{"delta": one}]}) for one in (delta, call)]
    answer = streamed([*pieces, chunk_of({"choices": [{"text": "!"}]}), DONE])
    assert (answer.text, answer.figures.tokens) == ("hm{}!", 3)


def test_a_missing_done_is_noted_if_the_answer_is_complete() -> None:
    answer = streamed([chunk("a"), chunk("", "stop")])
    assert answer.problem == "" and answer.notes == ["The stream has no [DONE] at its end."]


def test_a_stream_that_ends_early_is_no_answer() -> None:
    answer = streamed([chunk("a"), chunk("b")[:-20]])
    assert answer.problem.startswith("The stream ended before the answer was complete")
    assert answer.text == "a"
    assert streamed([]).problem


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "out of\x1b[31m memory.", "code": 500}},
        {"error": "out of memory"},
        {"object": "error", "message": "out of memory"},
    ],
)
def test_an_error_in_the_middle(error: object) -> None:
    answer = streamed([chunk("a"), chunk_of(error), DONE])
    assert answer.problem == (
        "The server reported an error in the middle of the answer: out of memory."
    )
    assert answer.text == "a" and "out of" in answer.raw_text and "\x1b" not in answer.raw_text


def test_a_line_of_10_mib_is_not_kept() -> None:
    tracemalloc.start()
    try:
        line = b"data: " + b"x" * (10 << 20)
        answer = InferenceAnswer()
        answer.begin(200, SSE, 1.0)
        answer.feed(chunk("a"), 2.0)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        answer.feed(line, 3.0)
        _, peak = tracemalloc.get_traced_memory()
        answer.feed(b"\n\n" + chunk("b", "stop") + DONE, 4.0)
        answer.finish(5.0)
    finally:
        tracemalloc.stop()
    assert peak - before < 8 * MAX_EVENT_LENGTH
    assert "has an event of more than 1.0 MiB, which is not read" in answer.problem
    assert answer.text == "a"
    assert answer.raw_text.endswith("… cut: the first 128.0 KiB of 10.0 MiB are kept.")


def test_comments_that_keep_the_connection_open_are_no_event() -> None:
    ping = b": " + b"p" * 1000 + b"\n"
    answer = streamed([ping * 3000, chunk("a", "stop"), DONE])
    assert (answer.problem, answer.text) == ("", "a")


def test_a_long_event_of_many_lines_is_not_kept() -> None:
    answer = streamed([b"data: " + b"x" * 1000 + b"\n"] * 1100)
    assert "has an event of more than 1.0 MiB" in answer.problem


def test_what_is_kept_is_bounded_and_said() -> None:
    text = "x" * 1000
    answer = streamed([*[chunk(text)] * 200, chunk("", "stop"), DONE])
    assert answer.is_text_cut and len(answer.text) == MAX_TEXT_LENGTH
    assert len(answer.body) == MAX_RAW_BYTES and "… cut: the first" in answer.raw_text
    assert answer.figures.tokens == 200


def test_what_comes_after_is_given_piece_by_piece() -> None:
    answer = InferenceAnswer()
    answer.begin(200, SSE, 1.0)
    answer.feed(chunk("a\x1b["), 2.0)
    count = answer.piece_count
    answer.feed(chunk("31mb"), 3.0)
    assert answer.text_after(0) == answer.text and "\x1b" not in answer.text
    assert answer.text_after(count) == "31mb"


# -- what is no stream ----------------------------------------------------------------------------


def answered(
    body: bytes, headers: Sequence[tuple[str, str]] = JSON, **options: bool
) -> InferenceAnswer:
    answer = InferenceAnswer(**options)
    answer.begin(200, headers, 1.0)
    answer.feed(body, 2.0)
    answer.finish(3.0)
    return answer


def test_an_answer_in_one_piece() -> None:
    choice = {"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice], "usage": {"completion_tokens": 4}}
    answer = answered(json.dumps(body).encode())
    assert (answer.text, answer.problem, answer.figures.finish_reason) == ("Hello", "", "stop")
    figures = answer.figures
    assert (figures.first_token_seconds, figures.tokens_per_second) == (None, None)
    assert figure_texts(figures, is_stream=answer.is_stream) == [
        "4 tokens (usage)",
        "headers after 1 s",
        "total 3 s",
        "HTTP 200",
        "finish reason stop",
        "model m",
        "not streamed",
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"data": [{"embedding": [0.5] * 1024}]}, "1 embedding of 1,024 dimensions"),
        ({"data": [{"embedding": [1]}, {}]}, "2 embeddings of 1 dimensions"),
        ({"results": [{"index": 0, "relevance_score": 0.98765}]}, "relevance score 0.9877"),
        ([[0.5] * 1024], "1 embedding of 1,024 dimensions"),
        ([{"index": 0, "score": 0.98765}], "relevance score 0.9877"),
        ([[{"label": "joy", "score": 0.5}]], ""),
        ([{"label": "joy"}], ""),
        ({"data": []}, ""),
        ({"predictions": [0.5]}, ""),
    ],
)
def test_what_has_no_text_is_described(body: object, text: str) -> None:
    answer = answered(json.dumps(body).encode())
    assert (answer.text, answer.problem) == (text, "")


TEXT = [("content-type", "text/plain; charset=utf-8")]


@pytest.mark.parametrize(
    ("body", "headers", "what"),
    [
        (b"OK", TEXT, "It answered with text/plain and not with JSON (OK)"),
        (b"OK\x1b[2J", [], "It answered with a body without a content type and not with JSON (OK)"),
        (b"{", JSON, "It answered with application/json and not with JSON ({)"),
        (b"", JSON, "It answered with 200 and an empty body"),
        *(
            (body, JSON, f"It answered with JSON that is no answer of a model ({body.decode()})")
            for body in (b"null", b"[1]", b"[]", b"[[]]", b"3", b'"OK"', b"{}", b'{"choices":5}')
        ),
        (
            b'{"status": "ok", "data": null, "usage": {}}',
            JSON,
            'It answered with JSON that is no answer of a model ({"status": "ok", "data": null,'
            ' "usage": {}})',
        ),
    ],
)
def test_what_is_no_answer_has_a_sentence(
    body: bytes, headers: Sequence[tuple[str, str]], what: str
) -> None:
    answer = answered(body, headers)
    assert answer.problem == (
        f"{what}; check that the way leads to the inference server, and that it has this API."
    )
    read = answered(body, headers, is_read=True)
    assert read.problem == "", "of a path that is read, each answer is one"


def test_a_stream_of_nothing_is_no_answer() -> None:
    for pieces in ([DONE], [chunk(""), DONE], [chunk_of({"status": "ok"}), DONE]):
        assert streamed(pieces).problem.startswith("The stream ended with [DONE], but without text")
    assert streamed([chunk("", "stop"), DONE]).problem == "", "the model had nothing to say"
    assert streamed([usage(0), DONE]).problem == ""


def test_an_answer_without_text_is_one() -> None:
    for choice in (
        {"message": {"role": "assistant", "content": ""}, "finish_reason": "stop"},
        {
            "message": {
                "role": "assistant",
                "tool_calls": [{"function": {"name": "now", "arguments": ""}}],
            }
        },
    ):
        assert answered(json.dumps({"choices": [choice]}).encode()).problem == ""


def test_an_error_with_status_200() -> None:
    answer = answered(b'{"error": {"message": "no"}}')
    assert answer.problem == "The server answered with an error: no."


def test_a_web_page_is_no_answer_unless_it_was_asked_for() -> None:
    page, html = b"<html>login</html>", [("Content-Type", "text/html")]
    assert "answered with a web page" in answered(page, html).problem
    read = answered(page, html, is_read=True)
    assert (read.problem, read.text) == ("", "<html>login</html>")


def test_a_long_body_is_not_kept() -> None:
    answer = answered(b'"' + b"x" * (MAX_JSON_BYTES + 10) + b'"')
    assert answer.notes == ["The answer is longer than 4.0 MiB and was not read."]
    read = answered(b"x" * (MAX_JSON_BYTES + 10), is_read=True)
    assert read.is_text_cut and len(read.text) == MAX_TEXT_LENGTH


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"null", b"[" * 100_000, b"\xff\xfe"),
        b'{"choices": 3, "usage": [], "model": 4}',
        b'{"choices": [null, {"delta": 1, "finish_reason": []}]}',
        b'{"usage": {"completion_tokens": -1, "prompt_tokens": true}, "data": [{"embedding": 1}]}',
        b'{"choices": [{"delta": {"tool_calls": [1, {"function": 2}]}}], "results": [{}]}',
    ],
)
def test_whatever_is_sent_is_taken(body: bytes) -> None:
    for answer in (answered(body), streamed([b"data: " + body + b"\n\n"])):
        assert answer.text == "" and answer.figures.tokens is None
        assert answer.raw_text.startswith("HTTP 200 OK\n")


HUGE = int("9" * 400)
LARGEST = 2**53 - 1


@pytest.mark.parametrize("number", [HUGE, 2**53, -1, True, 1.5, "7", None])
def test_a_number_of_tokens_that_is_none_is_not_believed(number: object) -> None:
    numbers = {"completion_tokens": number, "prompt_tokens": number}
    last = chunk_of({"choices": [], "usage": numbers})
    answer = streamed([chunk("a"), chunk("b", "stop"), last, DONE])
    figures = answer.figures
    assert (figures.tokens, figures.tokens_are_counted, figures.prompt_tokens) == (2, True, None)
    whole = answered(json.dumps({"choices": [{"text": "a"}], "usage": numbers}).encode())
    assert (whole.figures.tokens, whole.figures.prompt_tokens) == (None, None)
    for one in (answer, whole):
        assert all(len(text) < 80 for text in figure_texts(one.figures, is_stream=True))


def test_the_largest_number_of_tokens() -> None:
    figures = streamed([chunk("a"), chunk("b", "stop"), usage(LARGEST), DONE]).figures
    assert (figures.tokens, figures.tokens_are_counted) == (LARGEST, False)
    assert figure_texts(figures, is_stream=True)


@pytest.mark.parametrize("score", [HUGE, -HUGE, 1e308, True, "1", None])
def test_a_score_that_is_none_is_not_shown(score: object) -> None:
    answer = answered(json.dumps({"results": [{"relevance_score": score}]}).encode())
    assert answer.text == ""


# -- errors and the raw form ----------------------------------------------------------------------


def test_the_raw_answer_has_headers_and_body_without_controls() -> None:
    answer = InferenceAnswer()
    assert answer.raw_text == ""
    answer.begin(799, [("X-\x1b[2J", "a\x07\r\nb"), *SSE], 1.0)
    answer.feed(b"data: \x1b[31mx\r\n\r\n", 2.0)
    assert answer.raw_text == (
        "HTTP 799\nX-: a b\nContent-Type: text/event-stream; charset=utf-8\n\ndata: x\n\n"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"error": {"message": "The model `x` does not exist."}}',
            "The model `x` does not exist",
        ),
        (b'{"error": {"type": "BadRequest"}}', "BadRequest"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"msg": "bad"}]}', '[{"msg":"bad"}]'),
        (b'{"object": "error", "message": "no"}', "no"),
        (b'{"message": "no Route matched"}', "no Route matched"),
        (b"no healthy upstream", "no healthy upstream"),
        (b"<html>502</html>", ""),
        (b'{"error": ' + b"9" * 5000 + b"}", '{"error": ' + "9" * 289 + "…"),
        (b"{}", ""),
        (b"", ""),
    ],
)
def test_what_a_server_says_of_a_refusal(body: bytes, message: str) -> None:
    assert failure_message(body) == message


def test_what_is_no_error() -> None:
    for body in ([], {"error": None}, {"error": ""}, {"message": "hello"}):
        assert error_message(body) == ""


def test_the_first_problem_stays() -> None:
    answer = InferenceAnswer()
    answer.begin(200, SSE, 1.0)
    answer.feed(chunk_of({"error": "first"}), 2.0)
    answer.fail("second", 3.0)
    assert answer.problem.endswith("first.") and answer.figures.total_seconds == 3.0
