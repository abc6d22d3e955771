"""A serving as a YAML document, for git: `apiVersion: servedeck.dev/v1`, `kind: Serving`.

Every scalar is read as its literal text, as in the form, so `value: yes` and `tag: 1.10` are not
converted. Errors contain the line and the field.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import FIELDS, ServingSpec, parse_spec
from servedeck.serving.spec.templates.base import to_camel_case
from servedeck.serving.spec.types import EnvVar, Quantity, Transformer, Volume
from servedeck.serving.text import one_line, sanitize

API_VERSION = "servedeck.dev/v1"
KIND = "Serving"
MAX_DOCUMENT_LENGTH = 1_000_000
MAX_NESTING_DEPTH = 20


@dataclass(frozen=True, slots=True)
class DocumentIssue:
    line: int
    """1-based; 0 if unknown."""
    field: str
    """Dotted path as in the spec, "" for the document itself."""
    message: str

    def __str__(self) -> str:
        """One line, sanitized for the terminal."""
        place = f"line {self.line}: " if self.line else ""
        field = (
            f"{'.'.join(to_camel_case(part) for part in self.field.split('.'))}: "
            if self.field
            else ""
        )
        return one_line(sanitize(f"{place}{field}{self.message}"))


class _Dumper(yaml.SafeDumper):
    """Multi-line strings as blocks, and those with control characters escaped: in single quotes,
    yaml writes some of them in a form that it reads back as spaces."""


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not text.isprintable():
        style = "|" if text.replace("\n", "").isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)


class DocumentError(ValueError):
    """The text is not a valid serving; `issues` lists why, str() has one line for each."""

    def __init__(self, issues: list[DocumentIssue]) -> None:
        super().__init__("\n".join(str(one) for one in issues))
        self.issues = issues


def to_yaml(spec: ServingSpec) -> str:
    """The document of a serving. Fields that are not set are omitted, except the few that identify
    it."""
    metadata = {"name": spec.name}
    if spec.namespace:
        metadata["namespace"] = spec.namespace
    body = {
        to_camel_case(name): value
        for name, field in FIELDS.items()
        if name not in ("name", "namespace")
        and (value := _field_value(spec, name, field.always_in_document)) is not None
    }
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": body}
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if text.replace("\n", "").isprintable():
        return text
    # Only within double quotes; there yaml does not escape some characters that control a terminal
    # (U+202E) or look like a space (U+00A0).
    return "".join([_escape_unprintable(char) for char in text])


def _escape_unprintable(char: str) -> str:
    return char if char == "\n" or char.isprintable() else f"\\U{ord(char):08X}"


def from_yaml(text: str) -> ServingSpec:
    """The single serving in a text. Raises DocumentError."""
    specs = all_from_yaml(text)
    if len(specs) != 1:
        raise DocumentError(
            [DocumentIssue(0, "", f"There are {len(specs)} servings; keep one, or apply them all.")]
        )
    return specs[0]


def all_from_yaml(text: str) -> list[ServingSpec]:
    """The servings in a text with one or more documents. Raises DocumentError with every problem
    of every document."""
    specs: list[ServingSpec] = []
    found: list[DocumentIssue] = []
    for node in _compose_documents(text):
        spec, problems = _parse_document(node)
        found += problems
        if spec is not None:
            specs.append(spec)
    if found:
        raise DocumentError(found)
    if not specs:
        message = f"The text contains no serving; start it with apiVersion: {API_VERSION}."
        raise DocumentError([DocumentIssue(0, "", message)])
    return specs


def _field_value(spec: ServingSpec, name: str, always: bool) -> Any:
    """Value of a field as YAML; None to omit it."""
    value = getattr(spec, name)
    if name == "settings":
        own = {field.name: field.default for field in spec.template_definition.fields}
        changed = {key: one for key, one in value.items() if one != own.get(key)}
        return {to_camel_case(key): _plain_value(one) for key, one in changed.items()} or None
    if name == "accelerator_count" and spec.accelerator:
        return value
    default = type(spec).model_fields[name].default
    return None if value == default and not always else _plain_value(value)


def _plain_value(value: Any) -> Any:
    if isinstance(value, Quantity):
        return str(value)
    if isinstance(value, tuple):
        return [_plain_value(one) for one in value]
    if isinstance(value, EnvVar):
        return _env_entry(value)
    if isinstance(value, Volume):
        return {"pvc": value.pvc, "mountPath": value.mount_path, "readOnly": value.read_only}
    if isinstance(value, Transformer):
        found: dict[str, Any] = {"image": value.image}
        if value.port is not None:
            found["port"] = value.port
        lists = {"command": list(value.command), "env": [_env_entry(one) for one in value.env]}
        return found | {key: one for key, one in lists.items() if one}
    return value


def _env_entry(one: EnvVar) -> dict[str, Any]:
    for key, ref in (("secret", one.secret), ("configMap", one.config_map)):
        if ref is not None:
            return {"name": one.name, key: {"name": ref.name, "key": ref.key}}
    return {"name": one.name, "value": one.value}


def _compose_documents(text: str) -> list[yaml.Node]:
    if len(text) > MAX_DOCUMENT_LENGTH:
        raise DocumentError([DocumentIssue(0, "", "The text is longer than a million characters.")])
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            # An alias can expand a document to a billion times the length of its text.
            if isinstance(event, yaml.AliasEvent):
                raise DocumentError(
                    [
                        DocumentIssue(
                            _line_number(event),
                            "",
                            "YAML aliases are not supported; write the value out.",
                        )
                    ]
                )
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
                if depth > MAX_NESTING_DEPTH:
                    raise DocumentError(
                        [
                            DocumentIssue(
                                _line_number(event), "", "This is nested too deeply; flatten it."
                            )
                        ]
                    )
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
        return [one for one in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_null(one)]
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        why = exc.problem or exc.context or "it cannot be read"
        line = mark.line + 1 if mark else 0
        raise DocumentError([DocumentIssue(line, "", f"This is not YAML: {why}.")]) from None
    except yaml.YAMLError as exc:
        line = text[: getattr(exc, "position", 0)].count("\n") + 1
        why = getattr(exc, "reason", "it cannot be read")
        raise DocumentError([DocumentIssue(line, "", f"This is not YAML: {why}.")]) from None


def _parse_document(node: yaml.Node) -> tuple[ServingSpec | None, list[DocumentIssue]]:
    lines: dict[str, int] = {}
    twice: list[DocumentIssue] = []
    document = _to_plain_value(node, "", lines, twice)
    if twice:
        return None, twice
    if not isinstance(document, Mapping):
        return None, [DocumentIssue(_line_number(node), "", "A serving is a mapping of fields.")]
    first = _line_number(node)
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != wanted:
            line = lines.get(field, first)
            return None, [DocumentIssue(line, field, f"This must be {wanted}; correct it.")]
    problems = [
        DocumentIssue(lines[key], key, "There is no such field; correct its name or remove it.")
        for key in document
        if key not in ("apiVersion", "kind", "metadata", "spec")
    ]
    metadata, body = document.get("metadata"), document.get("spec")
    for field, value in (("metadata", metadata), ("spec", body)):
        if not isinstance(value, Mapping):
            line = lines.get(field, first)
            problems.append(DocumentIssue(line, field, "A mapping is missing here; add it."))
    if not isinstance(metadata, Mapping) or not isinstance(body, Mapping):
        return None, problems
    problems += [
        DocumentIssue(
            lines[f"metadata.{key}"], f"metadata.{key}", "Only name and namespace are read here."
        )
        for key in metadata
        if key not in ("name", "namespace")
    ]
    problems += [
        DocumentIssue(
            lines[f"spec.{key}"], f"spec.{key}", "The name and the namespace belong to metadata."
        )
        for key in body
        if key in ("name", "namespace")
    ]
    if problems:
        return None, problems
    raw = {**body, "name": metadata.get("name"), "namespace": metadata.get("namespace")}
    spec, wrong = parse_spec(raw)
    return spec, [_to_document_issue(one, lines, first) for one in wrong]


def document_path(field: str) -> str:
    """Path of a field of the spec in the document: "spec.settings.maxModelLen"."""
    if field in ("name", "namespace"):
        return "metadata.namespace" if field == "namespace" else "metadata.name"
    return ".".join(to_camel_case(part) for part in f"spec.{field}".split("."))


def _to_document_issue(issue: Issue, lines: Mapping[str, int], default_line: int) -> DocumentIssue:
    """The issue with the line of its field, or of the nearest enclosing field."""
    path = document_path(issue.field)
    around = path
    while around and around not in lines:
        around = around.rpartition(".")[0]
    return DocumentIssue(lines.get(around, default_line), path, issue.message)


def _to_plain_value(
    node: yaml.Node, path: str, lines: dict[str, int], duplicates: list[DocumentIssue]
) -> Any:
    """Mappings, lists and strings of a node; the line of each field is added to `lines`."""
    if isinstance(node, yaml.MappingNode):
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            here = f"{path}.{key}" if path else key
            if key in found:
                message = f"This field is already set on line {lines[here]}; keep one of them."
                duplicates.append(DocumentIssue(_line_number(key_node), here, message))
                continue
            lines[here] = _line_number(key_node)
            found[key] = _to_plain_value(value_node, here, lines, duplicates)
        return found
    if isinstance(node, yaml.SequenceNode):
        entries = []
        for at, one in enumerate(node.value):
            lines[f"{path}.{at}"] = _line_number(one)
            entries.append(_to_plain_value(one, f"{path}.{at}", lines, duplicates))
        return entries
    return None if _is_null(node) else node.value


def _is_null(node: yaml.Node | None) -> bool:
    """Empty, ~ or null, without quotes."""
    return node is None or (
        isinstance(node, yaml.ScalarNode)
        and node.style is None
        and node.value in ("", "~", "null", "Null", "NULL")
    )


def _line_number(node: Any) -> int:
    return int(node.start_mark.line) + 1
