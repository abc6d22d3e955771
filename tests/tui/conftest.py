import pytest


@pytest.fixture(autouse=True)
def drafts(monkeypatch, tmp_path):
    """Where the programs of `terminal_app` keep their drafts."""
    monkeypatch.setenv("DRAFTS", str(tmp_path))
