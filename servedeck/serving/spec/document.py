"""A serving as a YAML document, for git: `apiVersion: servedeck.dev/v1`, `kind: Serving`.

Every scalar is read as its literal text, as in the form, so `value: yes` and `tag: 1.10` are not
converted. Errors contain the line and the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from servedeck.serving.spec.document_fields import NO_SUCH_FIELD, unknown_fields
from servedeck.serving.spec.document_issues import DocumentError, DocumentIssue
from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.names import validate_label, validate_subdomain
from servedeck.serving.spec.spec import FIELDS, ServingSpec, parse_spec
from servedeck.serving.spec.templates.base import to_camel_case, to_snake_case
from servedeck.serving.spec.types import EnvVar, Quantity, Transformer, Volume
from servedeck.serving.spec.yaml_reader import (
    Source,
    compose_documents,
    line_number,
    to_plain_value,
)

API_VERSION = "servedeck.dev/v1"
KIND = "Serving"


@dataclass(frozen=True, slots=True)
class ServingDocument:
    """A serving with the lines of what identifies it."""

    spec: ServingSpec
    name_line: int
    namespace_line: int


class _Dumper(yaml.SafeDumper):
    """Multi-line strings as blocks, and those with control characters escaped: in single quotes,
    yaml writes some of them in a form that it reads back as spaces."""


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not text.isprintable():
        style = "|" if text.replace("\n", "").isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)


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
    return dump_yaml({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": body})


def dump_yaml(value: Any) -> str:
    """A value of decoded JSON as YAML that contains only printable characters."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
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
    return [document.spec for document in read_documents(text)]


def read_documents(text: str) -> list[ServingDocument]:
    """The servings in a text, with their lines. Raises DocumentError like `all_from_yaml`."""
    documents: list[ServingDocument] = []
    found: list[DocumentIssue] = []
    for node in compose_documents(text):
        document, problems = _parse_document(node)
        found += problems
        if document is not None:
            documents.append(document)
    if found:
        raise DocumentError(found)
    if not documents:
        message = f"The text contains no serving; start it with apiVersion: {API_VERSION}."
        raise DocumentError([DocumentIssue(0, "", message)])
    return documents


def validate_identities(
    documents: Sequence[ServingDocument], default_namespace: str
) -> list[DocumentIssue]:
    """Names that no object can have, and servings that are there twice: what must be right before
    the first request is sent. `read_documents` accepts them: in the form they can be corrected."""
    found: list[DocumentIssue] = []
    lines: dict[tuple[str, str], int] = {}
    for document in documents:
        name = document.spec.name
        namespace = document.spec.namespace or default_namespace
        # A Deployment that servedeck did not create may have a name with dots.
        if validate_subdomain(name):
            message = validate_label(name, "The service name")
            found.append(DocumentIssue(document.name_line, "metadata.name", message))
        elif document.spec.namespace and (message := validate_label(namespace, "The namespace")):
            found.append(DocumentIssue(document.namespace_line, "metadata.namespace", message))
        elif (namespace, name) in lines:
            message = (
                f"The serving {name} in namespace {namespace} is already on line "
                f"{lines[namespace, name]}; keep one of them."
            )
            found.append(DocumentIssue(document.name_line, "metadata.name", message))
        lines.setdefault((namespace, name), document.name_line)
    return found


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
        for name in ("cpu", "memory"):
            amount = getattr(value, name)
            if amount != Transformer.model_fields[name].default:
                found[name] = "" if amount is None else str(amount)
        lists = {"command": list(value.command), "env": [_env_entry(one) for one in value.env]}
        return found | {key: one for key, one in lists.items() if one}
    return value


def _env_entry(one: EnvVar) -> dict[str, Any]:
    for key, ref in (("secret", one.secret), ("configMap", one.config_map)):
        if ref is not None:
            optional = {"optional": True} if ref.optional else {}
            return {"name": one.name, key: {"name": ref.name, "key": ref.key, **optional}}
    return {"name": one.name, "value": one.value}


def _parse_document(node: yaml.Node) -> tuple[ServingDocument | None, list[DocumentIssue]]:
    source = Source()
    document = to_plain_value(node, source)
    lines, first = source.lines, line_number(node)
    if source.issues:
        return None, source.issues
    if not isinstance(document, Mapping):
        return None, [DocumentIssue(first, "", "A serving is a mapping of fields.")]
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != wanted:
            line = lines.get(field, first)
            return None, [DocumentIssue(line, field, f"This must be {wanted}; correct it.")]
    problems = [
        DocumentIssue(lines[key], key, NO_SUCH_FIELD)
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
    unknown = dict(unknown_fields(body, "spec"))
    problems = [DocumentIssue(lines[path], path, message) for path, message in unknown.items()]
    raw = {**body, "name": metadata.get("name"), "namespace": metadata.get("namespace")}
    spec, wrong = parse_spec(raw)
    reported = {to_snake_case(path) for path in unknown}
    problems += [
        _to_document_issue(one, lines, first)
        for one in wrong
        if f"spec.{one.field}" not in reported
    ]
    if spec is None or problems:
        return None, problems
    name_line = lines.get("metadata.name", lines["metadata"])
    return ServingDocument(spec, name_line, lines.get("metadata.namespace", name_line)), []


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
