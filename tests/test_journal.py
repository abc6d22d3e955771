from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck import journal


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer [hidden]"),
        ("{'token': 'abc', 'user': 'x'}", "{'token': '[hidden]', 'user': 'x'}"),
        ("access_token=abc&x", "access_token=[hidden]"),
        ("got eyJhbGciOiJSUzI1NiJ9.payload.sig here", "got [hidden] here"),
        ("client-key-data: QUJD", "client-key-data: [hidden]"),
        ("Pod llama-1 restarted", "Pod llama-1 restarted"),
    ],
)
def test_secrets_are_hidden(text: str, kept: str) -> None:
    assert journal.redact(text) == kept


def test_the_log_is_the_owners_alone_and_hides_secrets_of_tracebacks_too(tmp_path: Path) -> None:
    file = tmp_path / "log"
    journal.write_to(file)
    try:
        raise ValueError("Bearer abcdef")
    except ValueError:
        logging.getLogger("servedeck.x").exception("failed with token=abcdef")
    text = file.read_text()
    assert "ERROR servedeck.x: failed" in text and "Traceback" in text
    assert "abcdef" not in text
    assert file.stat().st_mode & 0o077 == 0


def test_without_a_log_nothing_reaches_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger().handlers.clear()
    journal.silence()
    logging.getLogger("kubernetes_asyncio").error("torn screen")
    assert capfd.readouterr() == ("", "")
