"""docs/keys.md has the names that the settings take."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

from servedeck.config import Settings
from tui.actions import ACTIONS, SCOPE_TITLES
from tui.start import validate_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "keys.md").read_text(encoding="utf-8")


def test_the_page_is_that_of_the_code() -> None:
    made = runpy.run_path(str(DOCS / "make_keys.py"))["page"]()
    assert made == PAGE, "run `make keys`"


def test_each_action_that_can_be_remapped_is_in_the_page_and_accepted() -> None:
    listed = {line.split("`")[1] for line in PAGE.splitlines() if line.startswith("| `")}
    actions = {one.id for one in ACTIONS if one.can_be_remapped}
    assert actions <= listed
    assert {one.scope for one in ACTIONS} <= set(SCOPE_TITLES)
    validate_settings(Settings(keymap=dict.fromkeys(actions, "f12")))


def test_the_example_is_accepted() -> None:
    example = tomllib.loads(PAGE.partition("```toml\n")[2].partition("```")[0])
    columns = tuple(example["columns"])
    validate_settings(Settings(**{**example, "columns": columns}))


def test_the_table_of_settings_leads_to_it() -> None:
    rows = [
        line
        for line in (DOCS / "connecting.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(("| `wide`, `columns`", "| `column_widths`", "| `theme`", "| `keymap`"))
    ]
    assert len(rows) == 4
    assert all("](keys.md" in row for row in rows)
