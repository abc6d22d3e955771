import pytest

from servedeck.config import Settings, SettingsError
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
            "columns: 'nosuch'.*choose from name, namespace",
        ),
        (Settings(keymap={"servings.log": "L"}), "keymap: 'servings.log'.*servings.logs"),
        (Settings(keymap={"table.move": "x"}), "keymap: 'table.move'"),
    ):
        with pytest.raises(SettingsError, match=expected):
            validate_settings(settings)
