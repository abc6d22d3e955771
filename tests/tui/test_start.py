import pytest
from textual.drivers import linux_driver

from servedeck.cluster.kubeconfig import Target
from servedeck.config import Settings, SettingsError
from tui.app import ServedeckApp
from tui.pasting import PasteParser
from tui.start import check, run


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


def test_the_app_is_started_with_what_guards_a_paste(monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[object] = []
    monkeypatch.setattr(linux_driver, "XTermParser", linux_driver.XTermParser)  # put back later
    monkeypatch.setattr(
        ServedeckApp, "run", lambda _: readers.append(vars(linux_driver)["XTermParser"])
    )
    assert run(Target(), Settings()) == 0
    assert readers == [PasteParser]
