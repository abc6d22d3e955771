from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.config import Settings, SettingsError
from servedeck.fleet import session as session_module
from tui import start
from tui.start import validate_settings


def test_unknown_names_in_the_settings_are_rejected() -> None:
    validate_settings(Settings(theme="nord", columns=("status",), keymap={"servings.logs": "L"}))
    for settings, expected in (
        (
            Settings(theme="servedeck-drak"),
            "theme: 'servedeck-drak'.*did you mean servedeck-dark?",
        ),
        (
            Settings(columns=("nosuch",)),
            "columns: 'nosuch'.*choose from name, kind, namespace",
        ),
        (Settings(column_widths={"modle": 9}), "column_widths: 'modle'.*did you mean model?"),
        (Settings(column_widths={"model": 2}), "model must be from 3 to 200 cells wide, not 2"),
        (Settings(column_widths={"age": 1 << 70}), "age must be from 3 to 200 cells wide"),
        (Settings(filters={"mine": "state:error"}), "filters: mine: "),
        (Settings(keymap={"servings.log": "L"}), "keymap: 'servings.log'.*servings.logs"),
        (Settings(keymap={"table.move": "x"}), "the keys of 'table.move' cannot be changed"),
        (Settings(keymap={"help.scroll": "x"}), "the keys of 'help.scroll' cannot be changed"),
    ):
        with pytest.raises(SettingsError, match=expected):
            validate_settings(settings)


def test_ages_use_the_clock_of_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    server_time = datetime(2026, 3, 1, tzinfo=UTC)
    seen: list[datetime] = []

    class FakeSession:
        connection = None

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def server_now(self) -> datetime:
            return server_time

        def subscribe(self, _: Any) -> Any:
            return lambda: None

        def hold_while(self, _: Any) -> None:
            pass

        async def start(self) -> None:
            pass

    class FakeApp:
        return_code = 0

        def __init__(self, source: Any, *_: Any, clock: Any, **__: Any) -> None:
            self.source, self.clock = source, clock

        def run(self) -> None:
            seen.append(self.clock())
            asyncio.run(self.source.start())
            seen.append(self.clock())

    monkeypatch.setattr(session_module, "ClusterSession", FakeSession)
    monkeypatch.setattr(start, "ServedeckApp", FakeApp)
    assert start.run(ConnectionOptions(), Settings()) == 0
    assert datetime.now(UTC) - seen[0] < timedelta(minutes=5), "the local time before it is known"
    assert seen[1] == server_time
