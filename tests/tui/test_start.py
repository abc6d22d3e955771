import pytest

from servedeck.config import Settings, SettingsError
from tui.start import check


def test_what_the_settings_name_must_exist() -> None:
    check(Settings(theme="nord", columns=("status",), keymap={"servings.logs": "L"}))
    for settings, said in (
        (
            Settings(theme="servedeck-drak"),
            "theme names 'servedeck-drak'.*did you mean servedeck-dark?",
        ),
        (Settings(columns=("nosuch",)), "columns names 'nosuch'.*there are name, project"),
        (Settings(keymap={"servings.log": "L"}), "keymap names 'servings.log'.*servings.logs"),
        (Settings(keymap={"table.move": "x"}), "keymap names 'table.move'"),
    ):
        with pytest.raises(SettingsError, match=said):
            check(settings)
