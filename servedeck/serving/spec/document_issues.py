"""What is wrong with the YAML document of a serving, by line and field."""

from __future__ import annotations

from dataclasses import dataclass

from servedeck.serving.text import one_line, sanitize, truncate

_MAX_FIELD_WIDTH = 200
_MAX_WIDTH = 600


@dataclass(frozen=True, slots=True)
class DocumentIssue:
    line: int
    """1-based; 0 if unknown."""
    field: str
    """Dotted path as the document has it, "" for the document itself."""
    message: str

    def __str__(self) -> str:
        """One line, sanitized for the terminal, and short even if a name in the text is not."""
        place = f"line {self.line}: " if self.line else ""
        field = f"{truncate(self.field, _MAX_FIELD_WIDTH)}: " if self.field else ""
        return truncate(one_line(sanitize(f"{place}{field}{self.message}")), _MAX_WIDTH)


class DocumentError(ValueError):
    """The text is not a valid serving; `issues` lists why, str() has one line for each."""

    def __init__(self, issues: list[DocumentIssue]) -> None:
        super().__init__("\n".join(str(one) for one in issues))
        self.issues = issues
