from __future__ import annotations

import os
from pathlib import Path

import pytest

from servedeck.config import Settings, SettingsError, load_settings, settings_path


def write_settings(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings({}, {}, tmp_path / "none.toml")
    assert settings == Settings()
    assert settings.explicit_keys == frozenset()


def test_precedence_of_flags_environment_file_and_configmap(tmp_path: Path) -> None:
    file = write_settings(tmp_path, 'context = "file"\nnamespace = "file"\nendpoint_host = "file"')
    environ = {"SERVEDECK_CONTEXT": "env", "SERVEDECK_NAMESPACE": "env"}
    settings = load_settings({"context": "flag", "namespace": None}, environ, file)
    assert (settings.context, settings.namespace, settings.endpoint_host) == ("flag", "env", "file")
    whole, wrong = settings.with_platform_configmap(
        {"endpoint_host": "map", "gateway": "infra/main"}
    )
    assert (whole.endpoint_host, whole.gateway, wrong) == ("file", "infra/main", ())


def test_what_is_set_to_its_default_was_chosen_too(tmp_path: Path) -> None:
    file = write_settings(tmp_path, 'endpoint_scheme = "https"')
    whole, _ = load_settings({}, {}, file).with_platform_configmap({"endpoint_scheme": "http"})
    assert whole.endpoint_scheme == "https"


def test_a_configmap_that_changes_or_goes_is_followed() -> None:
    settings = Settings()
    first, _ = settings.with_platform_configmap({"endpoint_host": "one", "endpoint_scheme": "http"})
    assert (first.endpoint_host, first.endpoint_scheme) == ("one", "http")
    second, _ = settings.with_platform_configmap({})
    assert second == settings


def test_a_configmap_sets_nothing_but_the_platform_and_its_mistakes_are_named() -> None:
    settings, wrong = Settings().with_platform_configmap(
        {"readonly": "true", "endpoint_scheme": "ftp", "endpoint_host": "h", "other": "x"}
    )
    assert not settings.readonly
    assert (settings.endpoint_host, settings.endpoint_scheme) == ("h", "")
    assert wrong == (
        'ConfigMap servedeck-system/servedeck: endpoint_scheme must be "https" or "http",'
        " not 'ftp'.",
    )


def test_a_configmap_cannot_say_where_keys_are_sent() -> None:
    """Whoever may write it would receive the keys of all operators."""
    given = {"async_admin_url": "https://elsewhere.test", "async_key_file": "/key"}
    assert Settings().with_platform_configmap(given) == (Settings(), ())
    own = load_settings({}, {"SERVEDECK_ASYNC_ADMIN_URL": "https://own.test"}, Path("/missing"))
    assert own.with_platform_configmap(given)[0].async_admin_url == "https://own.test"


def test_the_environment_gives_every_type_but_tables(tmp_path: Path) -> None:
    environ = {
        "SERVEDECK_READONLY": "yes",
        "SERVEDECK_FAVORITES": "team-a, team-b,",
        "SERVEDECK_KEYMAP": "x",
        "SERVEDECK_THEME": " nord ",
        "SERVEDECK_WIDE": "",
        "SERVEDECK_UNRELATED": "1",
    }
    settings = load_settings({}, environ, tmp_path / "none")
    assert settings.readonly
    assert settings.favorites == ("team-a", "team-b")
    assert settings.theme == "nord"
    assert not settings.wide


def test_the_file_gives_every_type(tmp_path: Path) -> None:
    text = """
        readonly = true
        favorites = ["a", "b"]
        columns = []
        [keymap]
        logs = "L"
        [column_widths]
        model = 40
        [filters]
        broken = "status:error"
    """
    settings = load_settings({}, {}, write_settings(tmp_path, text))
    assert (settings.readonly, settings.favorites) == (True, ("a", "b"))
    assert settings.keymap == {"logs": "L"}
    assert settings.column_widths == {"model": 40}
    assert settings.filters == {"broken": "status:error"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('theem = "x"', "unknown setting theem; did you mean theme?"),
        ("zzz = 1", "unknown setting zzz; choose from context, namespace,"),
        ('readonly = "true"', "readonly must be true or false, not 'true'."),
        ("context = 7", 'context must be a string, "...", not 7.'),
        (
            'favorites = "a"',
            'favorites must be a list of at most 9 strings, ["a", "b"], not \'a\'.',
        ),
        ("favorites = [1]", "favorites.0 must be a list of at most 9 strings"),
        (f"favorites = {['x'] * 10}", "favorites must be a list of at most 9 strings"),
        ('endpoint_scheme = "ftp"', 'endpoint_scheme must be "https" or "http", not \'ftp\'.'),
        ("[keymap]\nlogs = 1", "keymap.logs must be a table of strings, [keymap] with lines"),
        (
            '[column_widths]\nmodel = "40"',
            "column_widths.model must be a table of whole numbers, [column_widths] with lines",
        ),
        ("[filters]\nbroken = 1", "filters.broken must be a table of strings, [filters] with"),
        (f"log_memory_mib = {'9' * 5000}", "has a number that is too long; fix line 1."),
        (
            f'# 2026-01-01\ntheme = "a"\nlog_memory_mib = {"9_" * 5000}9',
            "has a number that is too long; fix line 3.",
        ),
        (
            f"favorites = {'[' * 5000}",
            "has lists or tables nested too deeply; fix line 1.",
        ),
        (f"\n[filters]\na = {'{b = ' * 5000}", "tables nested too deeply; fix line 3."),
        ("[filters]\na = " + "[\n" * 5000, "tables nested too deeply; fix it."),
        ("context = ", "is not valid TOML: Invalid value (at end of document); fix that line."),
    ],
)
def test_an_error_in_the_file_names_file_key_and_fix(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = write_settings(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, {}, file)
    message = str(caught.value)
    assert message.startswith(str(file)) and sentence in message and "\n" not in message
    assert caught.value.exit_code == 2


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({}, {"SERVEDECK_READONLY": "maybe"}, tmp_path / "none")
    assert str(caught.value) == (
        "Environment: SERVEDECK_READONLY must be true or false, not 'maybe'."
    )


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Cannot read .*; fix or delete it"):
        load_settings({}, {}, tmp_path)
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        load_settings({}, {}, file)
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to("/dev/zero"))):
        endless = tmp_path / f"{number}.toml"
        make(endless)
        with pytest.raises(SettingsError, match="it is not a regular file; fix or delete it"):
            load_settings({}, {}, endless)


def test_the_file_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_path() == tmp_path / "servedeck" / "settings.toml"


@pytest.mark.parametrize(
    ("context", "expected"),
    [("prod-eu", True), ("prod-", True), ("live", True), ("my-prod-eu", False), ("PROD-eu", False)],
)
def test_production_contexts_are_patterns(context: str, expected: bool) -> None:
    settings = Settings(production_contexts=("prod-*", "liv?"))
    assert settings.is_production(context) is expected
    assert not Settings().is_production(context)


def test_brackets_in_the_name_of_a_production_context_are_themselves() -> None:
    settings = Settings(production_contexts=("[prod] eu*", "arn:aws:eks:*:cluster/p?[1]"))
    assert settings.is_production("[prod] eu-west")
    assert settings.is_production("arn:aws:eks:eu-west-1:123:cluster/pp[1]")
    assert not settings.is_production("p eu-west")
    assert not settings.is_production("arn:aws:eks:eu-west-1:123:cluster/pp1")


def test_production_contexts_are_a_list_of_the_file_or_the_environment(tmp_path: Path) -> None:
    file = write_settings(tmp_path, 'production_contexts = ["prod-*"]')
    assert load_settings({}, {}, file).production_contexts == ("prod-*",)
    environ = {"SERVEDECK_PRODUCTION_CONTEXTS": "a, b-*"}
    assert load_settings({}, environ, file).production_contexts == ("a", "b-*")
