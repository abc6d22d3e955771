"""The curl line of a task's request."""

from __future__ import annotations

import shlex
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from servedeck.async_queue.curl import MAX_INLINE_BYTES, task_curl
from servedeck.async_queue.tasks import RequestView

URL = "https://serve.example.com/chat/llama"
CHAT = RequestView(
    path="/v1/chat/completions",
    headers=[
        ("host", "llama-async.chat.svc"),
        ("content-type", "application/json"),
        ("content-length", "18"),
        ("accept", "*/*"),
        ("user-agent", "python-requests/2"),
        ("x-api-key", "[hidden]"),
        ("priority", "u=1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-empty", ""),
    ],
)


def words(text: str) -> list[str]:
    return shlex.split(text.replace("\\\n", " "))


def test_the_line_of_a_chat():
    line = task_curl(URL, CHAT, b'{"model": "llama"}', has_credentials=True, file="request.json")
    assert line.text.splitlines() == [
        "curl -X POST 'https://serve.example.com/chat/llama/v1/chat/completions' \\",
        "  -H 'Content-Type: application/json' \\",
        "  -H 'Priority: u=1' \\",
        "  -H 'X-Empty;' \\",
        "  -H 'Authorization: Bearer <token>' \\",
        "  -H 'X-Async: true' \\",
        """  -d '{"model": "llama"}'""",
    ]
    assert line.file == ""


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=20),
    st.text(max_size=20),
)
def test_a_shell_reads_back_what_was_meant(body, path, value):
    request = RequestView(path=f"/{path}", headers=[("x-value", value)])
    line = task_curl(URL, request, body.encode(), has_credentials=False, file="request.json")
    read = words(line.text) if not line.file else shlex.split(line.text.replace("\\\n", " "))
    assert read[: read.index("-X") + 2][-2:] == ["-X", "POST"]
    assert read[read.index("-X") + 2] == f"{URL}/{path}"
    headers = [word for before, word in pairwise(read) if before == "-H"]
    assert headers[-1] == "X-Async: true"
    if value.isprintable() and value.strip():
        assert headers[0] == f"X-Value: {value}"
    if line.file:
        assert read[-2:] == ["--data-binary", "@request.json"]
    elif body:
        assert read[-1] == body
        assert read[-2] == ("--data-raw" if body.startswith("@") else "-d")
    assert all(char.isprintable() or char == "\n" for char in line.text)


def test_a_body_that_curl_would_take_for_the_name_of_a_file():
    line = task_curl(URL, CHAT, b"@/etc/passwd", has_credentials=False, file="f")
    assert words(line.text)[-2:] == ["--data-raw", "@/etc/passwd"]


def test_what_cannot_be_pasted_is_read_from_a_file():
    for body in (None, b"\x89PNG\xff", b'"\x1b[201~ls"', b"x" * (MAX_INLINE_BYTES + 1)):
        line = task_curl(URL, CHAT, body, has_credentials=False, file="request-1.json")
        assert line.file == "request-1.json"
        assert words(line.text)[-2:] == ["--data-binary", "@request-1.json"]
        assert "Authorization" not in line.text


def test_brackets_in_a_path_are_not_expanded_by_curl():
    request = RequestView(method="PUT", path="/v2?ids=[1-9]&token=[hidden]")
    assert words(task_curl(URL, request, b"", has_credentials=False, file="f").text)[:5] == [
        *("curl", "-g", "-X", "PUT", f"{URL}/v2?ids=[1-9]&token=[hidden]"),
    ]
