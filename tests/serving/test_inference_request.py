import json

import pytest

from servedeck.serving.inference_request import (
    inference_path,
    make_inference_request,
    path_problem,
    prompt_problem,
    read_max_tokens,
    takes_max_tokens,
    takes_prompt,
    token_problem,
)

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def body_of(template: str, model: str, prompt: str = "Hi", max_tokens: int = 7) -> object:
    request = make_inference_request(template, model, prompt, max_tokens)
    assert request.method == "POST" and request.body is not None
    return json.loads(request.body)


def test_a_chat_is_streamed_with_its_usage() -> None:
    request = make_inference_request("vllm", MODEL, "Sag „hallo“", 7)
    assert (request.path, request.streams, request.model) == ("/v1/chat/completions", True, MODEL)
    assert body_of("vllm", MODEL, "Sag „hallo“") == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Sag „hallo“"}],
        "max_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    without = request.without_usage()
    assert without.body is not None and "stream_options" not in json.loads(without.body)
    assert json.loads(without.body)["stream"] is True


@pytest.mark.parametrize(
    ("template", "model", "path", "body"),
    [
        ("vllm", "BAAI/bge-m3", "/v1/embeddings", {"model": "BAAI/bge-m3", "input": "Hi"}),
        (
            "tei",
            "BAAI/bge-reranker-v2-m3",
            "/rerank",
            {"model": "BAAI/bge-reranker-v2-m3", "query": "Hi", "documents": ["Hi"]},
        ),
    ],
)
def test_other_tasks_get_the_body_of_their_curl_line(template, model, path, body) -> None:
    assert inference_path(template, model) == path
    assert body_of(template, model) == body
    assert takes_prompt(path) and not takes_max_tokens(template, model)
    assert not make_inference_request(template, model, "Hi", 7).streams


@pytest.mark.parametrize(("template", "path"), [("custom", "/"), ("triton", "/v2"), ("", "/")])
def test_where_no_request_is_known_a_path_is_read(template: str, path: str) -> None:
    assert inference_path(template, "") == path and not takes_prompt(path)
    request = make_inference_request(template, "", "Hi", 7)
    assert (request.method, request.path, request.body, request.model) == ("GET", path, None, "")


def test_a_path_that_is_typed_is_read() -> None:
    request = make_inference_request("vllm", MODEL, "Hi", 7, path="health")
    assert (request.method, request.path, request.body) == ("GET", "/health", None)


@pytest.mark.parametrize("path", ["/", "/v1/models", "/a?b=../c", "/..a/b", "/%41", "/a%20b"])
def test_paths_below_the_serving(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "/a b",
        "/a#b",
        "/é",
        "/a\n",
        "/..",
        "/a/../b",
        "/%2e%2E/b",
        "/.%2e",
        "/./a",
        "/..?x",
    ],
)
def test_paths_that_lead_elsewhere(path: str) -> None:
    assert path_problem(path).startswith("Enter a path")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("64", 64), (" 1 ", 1), ("100000", 100_000), ("100001", None), ("0", None)),
        *(("", None), ("-1", None), ("1e3", None), ("٣", None), ("9" * 5000, None)),
    ],
)
def test_max_tokens(text: str, number: int | None) -> None:
    assert read_max_tokens(text) == number


def test_what_is_wrong_is_said_without_the_token() -> None:
    assert prompt_problem("  ").startswith("Enter a prompt") and not prompt_problem("Hi")
    assert not token_problem("") and not token_problem("sk-1_x.y")
    for wrong in ("sk 1", "sk\r\nHost: x", "sk-é"):
        assert token_problem(wrong) and wrong not in token_problem(wrong)
