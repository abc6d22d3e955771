from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from servedeck import logging_setup


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers = list(root.handlers)
    quiet = [logging.getLogger(name) for name in logging_setup.QUIET_LOGGERS]
    levels = {one: one.level for one in (root, *quiet)}
    yield
    root.handlers[:] = handlers
    for one, level in levels.items():
        one.setLevel(level)
    logging.captureWarnings(False)


PEM = "-----BEGIN RSA PRIVATE KEY-----\nQUJD\nREVG\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer [hidden]"),
        ("{'token': 'abc', 'user': 'x'}", "{'token': '[hidden]', 'user': 'x'}"),
        ("access_token=abc&x", "access_token=[hidden]"),
        ("got eyJhbGciOiJSUzI1NiJ9.payload.sig here", "got [hidden] here"),
        ("client-key-data: QUJD", "client-key-data: [hidden]"),
        ("OPENAI_API_KEY=sk-abc", "OPENAI_API_KEY=[hidden]"),
        ("HF_TOKEN: abc", "HF_TOKEN: [hidden]"),
        ("api_key: x", "api_key: [hidden]"),
        ("apiKey = x", "apiKey = [hidden]"),
        ("AWS_SECRET_ACCESS_KEY='x'", "AWS_SECRET_ACCESS_KEY='[hidden]'"),
        ("password='my secret pass' and more", "password='[hidden]' and more"),
        ('{"password": "my \\" pass", "a": 1}', '{"password": "[hidden]", "a": 1}'),
        ("password='it is cut o", "password='[hidden]"),
        ("password=b'my pass'", "password=b'[hidden]'"),
        (r'"{\"token\": \"abc\", \"a\": 1}"', r'"{\"token\": \"[hidden]\", \"a\": 1}"'),
        ("token=a,b;c", "token=[hidden]"),
        ("Authorization: xyz", "Authorization: [hidden]"),
        ("{'Authorization': 'Bearer x y'}", "{'Authorization': '[hidden]'}"),
        ("run ['login', '--token', 'abc', '-v']", "run ['login', '--token', '[hidden]', '-v']"),
        ("login --token abc -v", "login --token [hidden] -v"),
        ("login --id-token=abc -v", "login --id-token=[hidden] -v"),
        ("https://user:pass@host:1/", "https://[hidden]@host:1/"),
        ("https://user:p@ss@host", "https://[hidden]@host"),
        ("GET http://127.0.0.1:8001/T0K3N failed", "GET http://127.0.0.1:8001/[hidden] failed"),
        ("URL('http://127.0.0.1:8001/T0K3N/api?a=b')", "URL('http://127.0.0.1:8001/[hidden]')"),
        ("https://host?sig=abc", "https://host/[hidden]"),
        ("https://host:6443 is away", "https://host:6443 is away"),
        ("key hf_abcdefghijkl here", "key [hidden] here"),
        (f"a {PEM} b", "a [hidden] b"),
        (f"a {PEM!r} b", "a '[hidden]' b"),
        (f"a {PEM[:-20]}", "a [hidden]"),
        ("a LS0tLS1CRUdJTiBFQ+/= b", "a [hidden] b"),
        ("Pod llama-1 restarted", "Pod llama-1 restarted"),
        ("GET /api/v1/pods: 403", "GET /api/v1/pods: 403"),
        ("view of Key(namespace='chat')", "view of Key(namespace='chat')"),
    ],
)
def test_secrets_are_hidden(text: str, kept: str) -> None:
    assert logging_setup.redact(text) == kept


@pytest.mark.parametrize(
    "part",
    [
        "a",
        "token",
        "token-",
        "token=",
        "token='",
        "token=\\",
        "token\\\\",
        "token  ",
        "--",
        "--token",
        "--token ",
        "_key",
        "://",
        "://a@",
        "a@",
        "-----BEGIN A-----",
        "-----BEGIN ",
        "eyJ",
        "eyJaaaaaaaaaaa.",
        "Basic ",
        "Basic",
        "sk-",
        "LS0tLS1CRUdJTi",
        " ",
        "'",
        "\\",
        "\n",
    ],
)
def test_hiding_takes_time_in_proportion_to_the_text(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A quadratic search takes hours, and pytest-timeout would abort it.
    size = 5 * logging_setup.MAX_ENTRY_LENGTH
    monkeypatch.setattr(logging_setup, "MAX_ENTRY_LENGTH", size)
    logging_setup.redact((part * size)[:size])


def test_a_text_without_end_is_cut() -> None:
    text = logging_setup.redact("a" * (logging_setup.MAX_ENTRY_LENGTH + 7) + " token=x")
    assert len(text) < logging_setup.MAX_ENTRY_LENGTH + 40
    assert text.endswith("… (15 characters more)")


def test_the_log_is_the_owners_alone_and_hides_secrets_of_tracebacks_too(tmp_path: Path) -> None:
    file = tmp_path / "log"
    logging_setup.log_to_file(file)
    try:
        raise ValueError("Bearer abcdef")
    except ValueError:
        logging.getLogger("servedeck.x").exception("failed with token=abcdef")
    text = file.read_text()
    assert "ERROR servedeck.x: failed" in text and "Traceback" in text
    assert "abcdef" not in text
    assert file.stat().st_mode & 0o077 == 0


def test_a_log_that_others_could_read_is_the_owners_alone_then(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    file.chmod(0o644)
    logging_setup.log_to_file(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    with pytest.raises(OSError, match="it is a symbolic link"):
        logging_setup.log_to_file(link)
    with pytest.raises(OSError, match="it is a symbolic link"):
        link.unlink()
        link.symlink_to(tmp_path / "gone")
        logging_setup.log_to_file(link)
    assert not (tmp_path / "gone").exists()


def test_without_a_log_nothing_reaches_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging.getLogger().handlers.clear()
    logging_setup.disable_logging()
    logging.getLogger("kubernetes_asyncio").error("torn screen")
    assert capfd.readouterr() == ("", "")


def test_a_full_disk_never_brings_an_entry_into_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logging_setup.log_to_file(Path("/dev/full"))
    for _ in range(3):
        logging.getLogger("servedeck").warning("lost %s", {"token": "abc"})
    logging.shutdown()
    assert capfd.readouterr() == ("", "")
