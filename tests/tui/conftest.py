import pytest

from tests.tui.fake_change_service import FakeChangeService
from tests.waiting import WAIT_SECONDS


@pytest.fixture(autouse=True)
def drafts(monkeypatch, tmp_path):
    """Where the programs of `terminal_app` keep their drafts."""
    monkeypatch.setenv("DRAFTS", str(tmp_path))


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch):
    """A busy machine is not taken for one that hangs; a test of what hangs sets its own limit."""
    monkeypatch.setattr("tui.key_queue.QUIT_TIMEOUT", WAIT_SECONDS)
    monkeypatch.setattr("tui.app.INPUT_DRAIN_TIMEOUT", WAIT_SECONDS)
    monkeypatch.setattr("tui.screens.create.flow.PERMISSION_TIMEOUT", WAIT_SECONDS)
    monkeypatch.setattr("tui.operation_flow.PERMISSION_TIMEOUT", WAIT_SECONDS)
    monkeypatch.setattr("tui.screens.create.draft_autosave.WRITE_TIMEOUT", WAIT_SECONDS)
    monkeypatch.setattr("servedeck.changes.draft_store.WRITE_LOCK_TIMEOUT", WAIT_SECONDS)


@pytest.fixture
def change_service(tmp_path):
    """The cluster of the create form."""
    return FakeChangeService(tmp_path / "drafts")


@pytest.fixture
async def driver(tmp_path):
    """The app on a demo cluster whose clock stands still, to edit its servings."""
    from servedeck.demo.cluster import DemoCluster
    from tests.tui.edit_form import run_app

    async with DemoCluster(live=False) as demo, run_app(demo, tmp_path / "drafts") as found:
        yield found
