"""Writes keys.md: the names that `keymap`, `columns`, `column_widths` and `theme` take in the
settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from textual.theme import BUILTIN_THEMES

from styles.themes import THEMES
from tui.actions import ACTIONS, SCOPE_TITLES
from widgets.serving_rows import COLUMNS

PAGE = Path(__file__).with_name("keys.md")
HEADER = """\
# Names in the settings: actions, columns, themes

<!-- `make keys` writes this page from the code. -->

The [settings](connecting.md#settings) `keymap`, `columns`, `column_widths` and `theme` take these
names. A name that does not exist ends the start with a message that names the nearest one.

```toml
theme = "nord"
columns = ["status", "model", "age"]

[column_widths]
model = 40

[keymap]
"servings.logs" = "L"
"app.quit" = "ctrl+q"
```

`SERVEDECK_THEME` and `SERVEDECK_COLUMNS` (`status,model,age`) do the same for one start.
"""


def page() -> str:
    """The whole page."""
    return "\n".join((HEADER, *_themes(), *_columns(), *_actions()))


def _themes() -> Iterator[str]:
    own = ", ".join(f"`{one.name}`" for one in THEMES)
    yield f"## Themes\n\nservedeck's own: {own}. `servedeck-ansi` has the colors of the terminal."
    yield "\nOf Textual:\n"
    yield from (f"- `{name}`" for name in sorted(BUILTIN_THEMES))
    yield ""


def _columns() -> Iterator[str]:
    yield "## Columns\n\nThe name is always shown, `kind` only while a serving is no Deployment."
    yield "\n| name | column |\n| --- | --- |"
    yield from (f"| `{one.key}` | {one.label} |" for one in COLUMNS)
    yield ""


def _actions() -> Iterator[str]:
    yield (
        "## Actions\n\nAn action ID is where the action can be done and its name. Keys are named as"
        " Textual names\nthem; several are separated by commas. Actions that are not in these"
        " tables cannot be\nchanged."
    )
    for scope, title in SCOPE_TITLES.items():
        actions = [one for one in ACTIONS if one.scope == scope and one.can_be_remapped]
        if actions:
            yield f"\n### {title}\n\n| action ID | keys | meaning |\n| --- | --- | --- |"
            for one in actions:
                keys = ", ".join(f"`{key}`" for key in one.keys.split(","))
                yield f"| `{one.id}` | {keys} | {one.help.replace('|', chr(92) + '|')} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
