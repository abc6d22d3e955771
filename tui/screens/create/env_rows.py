"""Variables of a draft: pasted lines, env files, and where values come from."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.changes.draft import EMPTY_VARIABLE, VALUE_NOT_SAVED, Draft, DraftRow
from servedeck.serving.spec.env_file import InvalidLine, parse_env
from servedeck.serving.text import format_count
from widgets.field_input import MAX_VALUE_LENGTH

MAX_PASTED_LINES = 500
"""Maximum number of lines pasted at once; each becomes a row of widgets."""

SOURCE_ORDER = ("", "secret", "config_map")
"""Sources of a value, in the order in which the key cycles through them."""

SOURCE_MESSAGES = {
    "": "A literal value.",
    "secret": "The key of a Secret in the namespace.",
    "config_map": "The key of a ConfigMap in the namespace.",
}


@dataclass(frozen=True)
class EnvImportResult:
    """The result of pasting lines or loading a file."""

    added: int
    changed: int
    invalid_lines: tuple[InvalidLine, ...]

    @property
    def summary(self) -> str:
        parts = [f"{format_count(self.added, 'variable')} added"] if self.added else []
        parts += [f"{format_count(self.changed, 'variable')} changed"] if self.changed else []
        if self.invalid_lines:
            lines = ", ".join(str(one.line) for one in self.invalid_lines[:6])
            more = "…" if len(self.invalid_lines) > 6 else ""
            if len(self.invalid_lines) == 1:
                parts.append(f"line {lines} could not be read and is marked in the list")
            else:
                parts.append(f"lines {lines}{more} could not be read and are marked in the list")
        return "; ".join(parts).capitalize() + "." if parts else "It contains no variable."


def import_env(draft: Draft, path: str, text: str, row_index: int | None = None) -> EnvImportResult:
    """Add the variables of `text` to the rows of `path` ("env"), replacing row `at` if it is empty.
    An existing name gets the new value; lines that cannot be parsed become rows of their own, so
    that nothing is lost."""
    rows = draft.rows[path]
    parsed = parse_env(text)
    place = len(rows)
    if row_index is not None:
        place = row_index + 1
        if is_blank(rows[row_index]):
            del rows[row_index]
            place = row_index
    by_name = {row["name"]: row for row in rows if row["source"] != "line" and row["name"]}
    added = changed = 0
    new: list[tuple[int, DraftRow]] = []
    for one in parsed.assignments:
        if (row := by_name.get(one.name)) is not None:
            row.update({**EMPTY_VARIABLE, "name": one.name, "value": one.value})
            changed += 1
        else:
            row = {**EMPTY_VARIABLE, "name": one.name, "value": one.value}
            by_name[one.name] = row
            new.append((one.line, row))
            added += 1
    for bad in parsed.invalid_lines:
        new.append((bad.line, _invalid_line_row(bad.text, bad.line, bad.message)))
    rows[place:place] = [row for _, row in sorted(new, key=lambda entry: entry[0])]
    return EnvImportResult(added, changed, parsed.invalid_lines)


def oversized_reason(text: str) -> str:
    """Why the lines are too many or too long for the form, in a sentence; "" if they are not."""
    if (count := text.count("\n")) > MAX_PASTED_LINES:
        return f"That is {count:,} lines; paste at most {MAX_PASTED_LINES:,} at once."
    if len(text) > MAX_VALUE_LENGTH and any(len(s) > MAX_VALUE_LENGTH for s in text.split("\n")):
        return f"A line is too long; a value can have at most {MAX_VALUE_LENGTH:,} characters."
    return ""


def reparse_line(draft: Draft, path: str, row_index: int) -> bool:
    """Read a line that was corrected; True where it is a variable now."""
    rows = draft.rows[path]
    parsed = parse_env(rows[row_index]["value"])
    if parsed.invalid_lines or len(parsed.assignments) != 1:
        if parsed.invalid_lines:
            rows[row_index]["key"] = parsed.invalid_lines[0].message
        return False
    one = parsed.assignments[0]
    rows[row_index] = {**EMPTY_VARIABLE, "name": one.name, "value": one.value}
    return True


def is_blank(row: DraftRow) -> bool:
    """Whether a row of a list is empty."""
    return not any(text for name, text in row.items() if name not in ("source", "read_only"))


def remove_blank_rows(draft: Draft) -> dict[str, str]:
    """Remove empty rows. Returns the new path of each row of those lists by its old path: {"env.0":
    "", "env.1": "env.0"}, "" for what was removed."""
    moved: dict[str, str] = {}
    for path, rows in draft.rows.items():
        kept = [at for at, row in enumerate(rows) if not is_blank(row)]
        if len(kept) == len(rows):
            continue
        draft.rows[path] = [rows[at] for at in kept]
        moved |= {f"{path}.{at}": "" for at in range(len(rows))}
        moved |= {f"{path}.{at}": f"{path}.{now}" for now, at in enumerate(kept)}
    return moved


def cycle_source(row: DraftRow) -> str:
    """Switch the value to the next source; what was typed stays in the row. Returns a sentence with
    the new source."""
    if row["source"] not in SOURCE_ORDER:
        return "Fix the line first, then change the source of its value."
    if row["key"] == VALUE_NOT_SAVED:
        row["key"] = ""
    at = SOURCE_ORDER.index(row["source"])
    row["source"] = SOURCE_ORDER[(at + 1) % len(SOURCE_ORDER)]
    return SOURCE_MESSAGES[row["source"]]


def _invalid_line_row(text: str, line: int, message: str) -> DraftRow:
    return {**EMPTY_VARIABLE, "value": text, "source": "line", "ref": str(line), "key": message}
