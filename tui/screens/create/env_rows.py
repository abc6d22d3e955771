"""Variables of a draft: pasted lines, env files, and where values come from."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.changes.draft import NOT_KEPT, VARIABLE, Draft, Row
from servedeck.serving.spec.env_file import BadLine, parse
from servedeck.serving.units import counted

SOURCES = ("", "secret", "config_map")
"""Where a value comes from, in the order in which the key goes through them."""

WORDS = {
    "": "The value is written here.",
    "secret": "The value comes from a key of a Secret of the namespace.",
    "config_map": "The value comes from a key of a ConfigMap of the namespace.",
}


@dataclass(frozen=True)
class Taken:
    """What became of pasted lines or a file."""

    added: int
    changed: int
    bad: tuple[BadLine, ...]

    @property
    def sentence(self) -> str:
        parts = [f"{counted(self.added, 'variable')} added"] if self.added else []
        parts += [f"{counted(self.changed, 'variable')} changed"] if self.changed else []
        if self.bad:
            lines = ", ".join(str(one.line) for one in self.bad[:6])
            more = "…" if len(self.bad) > 6 else ""
            if len(self.bad) == 1:
                parts.append(f"line {lines} could not be read and stands in the list")
            else:
                parts.append(f"lines {lines}{more} could not be read and stand in the list")
        return "; ".join(parts).capitalize() + "." if parts else "There was no variable in it."


def take(draft: Draft, path: str, text: str, at: int | None = None) -> Taken:
    """Put the variables of `text` into the rows of `path` ("env"), in place of row `at` where that
    one is empty. A name that is there gets the new value; lines that cannot be read become rows of
    their own, so that nothing is lost."""
    rows = draft.rows[path]
    parsed = parse(text)
    place = len(rows)
    if at is not None:
        place = at + 1
        if is_blank(rows[at]):
            del rows[at]
            place = at
    by_name = {row["name"]: row for row in rows if row["source"] != "line" and row["name"]}
    added = changed = 0
    new: list[tuple[int, Row]] = []
    for one in parsed.assignments:
        if (row := by_name.get(one.name)) is not None:
            row.update({**VARIABLE, "name": one.name, "value": one.value})
            changed += 1
        else:
            row = {**VARIABLE, "name": one.name, "value": one.value}
            by_name[one.name] = row
            new.append((one.line, row))
            added += 1
    for bad in parsed.bad:
        new.append((bad.line, _unread(bad.text, bad.line, bad.message)))
    rows[place:place] = [row for _, row in sorted(new, key=lambda entry: entry[0])]
    return Taken(added, changed, parsed.bad)


def mend(draft: Draft, path: str, at: int) -> bool:
    """Read a line that was mended; True where it is a variable now."""
    rows = draft.rows[path]
    parsed = parse(rows[at]["value"])
    if parsed.bad or len(parsed.assignments) != 1:
        if parsed.bad:
            rows[at]["key"] = parsed.bad[0].message
        return False
    one = parsed.assignments[0]
    rows[at] = {**VARIABLE, "name": one.name, "value": one.value}
    return True


def is_blank(row: Row) -> bool:
    """Whether nothing was written into a row of a list."""
    return not any(text for name, text in row.items() if name not in ("source", "read_only"))


def drop_blank(draft: Draft) -> dict[str, str]:
    """Remove rows into which nothing was written. Returns where the rows of those lists stand now,
    by where they stood: {"env.0": "", "env.1": "env.0"}, "" for what was removed."""
    moved: dict[str, str] = {}
    for path, rows in draft.rows.items():
        kept = [at for at, row in enumerate(rows) if not is_blank(row)]
        if len(kept) == len(rows):
            continue
        draft.rows[path] = [rows[at] for at in kept]
        moved |= {f"{path}.{at}": "" for at in range(len(rows))}
        moved |= {f"{path}.{at}": f"{path}.{now}" for now, at in enumerate(kept)}
    return moved


def next_source(row: Row) -> str:
    """Take the value from the next kind of place; what was written stays in the row. Returns a
    sentence that says where it comes from now."""
    if row["source"] not in SOURCES:
        return "Mend the line first; then its value can come from elsewhere."
    if row["key"] == NOT_KEPT:
        row["key"] = ""
    at = SOURCES.index(row["source"])
    row["source"] = SOURCES[(at + 1) % len(SOURCES)]
    return WORDS[row["source"]]


def _unread(text: str, line: int, message: str) -> Row:
    return {**VARIABLE, "value": text, "source": "line", "ref": str(line), "key": message}
