"""YAML as mappings, lists and literal text, with the line of each field.

Only what a serving needs: no tags, no aliases, limited depth and size, so that reading a hostile
text takes seconds. PyYAML's own parser in Python, because that of libyaml rejects the surrogate
pairs of JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from servedeck.serving.spec.document_issues import DocumentError, DocumentIssue

MAX_TEXT_LENGTH = 16_000_000
"""Characters: etcd stores objects of up to 1.5 MB, and an escape has up to 10 characters for a
character of 2 bytes."""
MAX_VALUES = 200_000
"""Keys, scalars, lists and mappings of all documents: about 3,000 servings."""
MAX_NESTING_DEPTH = 20

_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(slots=True)
class Source:
    """Where the fields of a document are, and what is wrong with its text."""

    lines: dict[str, int] = field(default_factory=dict)
    """Line of each field, by its dotted path."""
    issues: list[DocumentIssue] = field(default_factory=list)

    def add_issue(self, node: yaml.Node, path: str, message: str) -> None:
        self.issues.append(DocumentIssue(line_number(node), path, message))


class _Loader(yaml.BaseLoader):
    """Composes the nodes of the documents, within the limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._values += 1
        # An alias can expand a document to a billion times the length of its text.
        if isinstance(event, yaml.AliasEvent):
            raise _error_at(event, "YAML aliases are not supported; write the value out.")
        if getattr(event, "tag", None) is not None:
            raise _error_at(
                event, "YAML tags are not supported; remove the tag, and quote the value."
            )
        if self._depth >= MAX_NESTING_DEPTH:
            raise _error_at(event, "This is nested too deeply; flatten it.")
        if self._values > MAX_VALUES:
            raise _error_at(
                event, f"The text has more than {MAX_VALUES:,} values; split it into several files."
            )
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def compose_documents(text: str) -> list[yaml.Node]:
    """The root of each document that is not empty. Raises DocumentError."""
    if len(text) > MAX_TEXT_LENGTH:
        message = f"The text is longer than {MAX_TEXT_LENGTH // 1_000_000} million characters."
        raise DocumentError([DocumentIssue(0, "", message)])
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as exc:
        line = text[: exc.position].count("\n") + 1
        code = f"U+{ord(text[exc.position]):04X}"
        raise _not_yaml(line, f"the character {code} is not allowed; remove it") from None
    roots: list[yaml.Node] = []
    try:
        while loader.check_node():
            root = loader.get_node()
            if root is not None and not _is_null(root):
                roots.append(root)
    except DocumentError:
        raise
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        why = exc.problem or exc.context or "it cannot be read"
        raise _not_yaml(mark.line + 1 if mark else 0, why) from None
    except (ValueError, OverflowError):  # of the scanner's chr() and int()
        why = "an escape or a number is out of range; correct it"
        raise _not_yaml(loader.line + 1, why) from None
    finally:
        loader.dispose()
    return roots


def to_plain_value(node: yaml.Node, source: Source, path: str = "") -> Any:
    """Mappings, lists and strings of a node; lines and problems are added to `source`."""
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                source.add_issue(key_node, path, "A field's name must be text; correct it.")
                continue
            key = _literal_text(key_node, source, path)
            here = f"{path}.{key}" if path else key
            if key in found:
                message = (
                    f"This field is already set on line {source.lines[here]}; keep one of them."
                )
                source.add_issue(key_node, here, message)
                continue
            source.lines[here] = line_number(key_node)
            found[key] = to_plain_value(value_node, source, here)
        return found
    if isinstance(node, yaml.SequenceNode):
        entries = []
        for at, one in enumerate(node.value):
            source.lines[f"{path}.{at}"] = line_number(one)
            entries.append(to_plain_value(one, source, f"{path}.{at}"))
        return entries
    return None if _is_null(node) else _literal_text(node, source, path)


def line_number(node: Any) -> int:
    """1-based line of a node or an event."""
    return int(node.start_mark.line) + 1


def _literal_text(node: yaml.Node, source: Source, path: str) -> str:
    """Text of a scalar. JSON escapes a character above U+FFFF as a pair of surrogates, which are no
    characters themselves: they are joined, and one alone is a problem."""
    text: str = node.value
    if text.isascii() or not _SURROGATE.search(text):
        return text
    text = _SURROGATE_PAIR.sub(_join_surrogates, text)
    if alone := _SURROGATE.search(text):
        code = f"U+{ord(alone[0]):04X}"
        message = f"{code} is only one half of a surrogate pair; write the character itself."
        source.add_issue(node, path, message)
    return text


def _join_surrogates(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _is_null(node: yaml.Node) -> bool:
    """Empty, ~ or null, without quotes."""
    return (
        isinstance(node, yaml.ScalarNode)
        and node.style is None
        and node.value in ("", "~", "null", "Null", "NULL")
    )


def _not_yaml(line: int, why: str) -> DocumentError:
    return DocumentError([DocumentIssue(line, "", f"This is not YAML: {why}.")])


def _error_at(event: yaml.Event, message: str) -> DocumentError:
    return DocumentError([DocumentIssue(line_number(event), "", message)])
