import pytest

from tests.waiting import LIMIT


@pytest.fixture(autouse=True)
def drafts(monkeypatch, tmp_path):
    """Where the programs of `terminal_app` keep their drafts."""
    monkeypatch.setenv("DRAFTS", str(tmp_path))


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine is not taken for one that hangs; a test of what hangs sets its own limit."""
    monkeypatch.setattr("tui.key_queue.ENDS_AFTER", LIMIT)
    monkeypatch.setattr("tui.app.TYPED_TIMEOUT", LIMIT)
    monkeypatch.setattr("tui.screens.create.flow.PATIENCE", LIMIT)
    monkeypatch.setattr("tui.screens.create.draft_autosave.PATIENCE", LIMIT)
    monkeypatch.setattr("servedeck.changes.draft_store.TURN", LIMIT)
