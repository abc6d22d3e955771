"""A serving as a YAML document, to be kept in git: `apiVersion: servedeck.dev/v1`, `kind: Serving`.

Every scalar is taken as the text that stands there, as in the form, so that `value: yes` and
`tag: 1.10` mean what they say. Errors name the line and the field.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from servedeck.serving.spec.issues import Problem
from servedeck.serving.spec.spec import EnvVar, ServingSpec, parse
from servedeck.serving.spec.templates.base import camel
from servedeck.serving.text import one_line, sanitise

API_VERSION = "servedeck.dev/v1"
KIND = "Serving"
LONGEST = 1_000_000
DEEPEST = 20


@dataclass(frozen=True, slots=True)
class DocumentProblem:
    line: int
    """From 1; 0 where no line can be named."""
    field: str
    """Dotted path as in the spec, "" for the document itself."""
    message: str

    def __str__(self) -> str:
        """One line, harmless on a terminal whatever the document holds."""
        place = f"line {self.line}: " if self.line else ""
        field = f"{'.'.join(camel(part) for part in self.field.split('.'))}: " if self.field else ""
        return one_line(sanitise(f"{place}{field}{self.message}"))


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and those with control characters escaped: in single
    quotes, yaml writes some of them so that it reads them back as blanks."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if not text.isprintable():
        style = "|" if text.replace("\n", "").isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


class DocumentError(ValueError):
    """The text is no serving; `problems` say why, str() is one line for each."""

    def __init__(self, problems: list[DocumentProblem]) -> None:
        super().__init__("\n".join(str(one) for one in problems))
        self.problems = problems


def to_yaml(spec: ServingSpec) -> str:
    """The document of a serving. Fields at their default are left out, save the few that tell what
    it is."""
    metadata = {"name": spec.name}
    if spec.project:
        metadata["namespace"] = spec.project
    body: dict[str, Any] = {}
    if spec.description:
        body["description"] = spec.description
    body |= {
        "template": spec.template,
        "image": spec.image,
        "cpu": str(spec.cpu),
        "memory": str(spec.memory),
    }
    if spec.accelerator:
        body |= {"accelerator": spec.accelerator, "acceleratorCount": spec.accelerator_count}
    body["replicas"] = spec.replicas
    settings = {
        camel(field.name): list(value) if isinstance(value, tuple) else value
        for field in spec.server.fields
        if (value := spec.settings[field.name]) != field.default
    }
    if settings:
        body["settings"] = settings
    if spec.volumes:
        body["volumes"] = [
            {"claim": one.claim, "mountPath": one.mount_path, "readOnly": one.read_only}
            for one in spec.volumes
        ]
    body["inferencePort"] = spec.inference_port
    if spec.command:
        body["command"] = list(spec.command)
    if spec.env:
        body["env"] = [_variable(one) for one in spec.env]
    if spec.transformer is not None:
        transformer = spec.transformer
        body["transformer"] = {"image": transformer.image, "port": transformer.port}
        if transformer.command:
            body["transformer"]["command"] = list(transformer.command)
        if transformer.env:
            body["transformer"]["env"] = [_variable(one) for one in transformer.env]
    if spec.readiness_path is not None:
        body["readinessPath"] = spec.readiness_path
    if spec.liveness_path is not None:
        body["livenessPath"] = spec.liveness_path
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": body}
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    if text.replace("\n", "").isprintable():
        return text
    # Only within double quotes; yaml leaves some there that steer a terminal (U+202E) or look like
    # a blank (U+00A0).
    return "".join([_seen(char) for char in text])


def _seen(char: str) -> str:
    return char if char == "\n" or char.isprintable() else f"\\U{ord(char):08X}"


def from_yaml(text: str) -> ServingSpec:
    """The one serving of a text. Raises DocumentError."""
    specs = all_from_yaml(text)
    if len(specs) != 1:
        raise DocumentError(
            [
                DocumentProblem(
                    0, "", f"There are {len(specs)} servings; leave one, or apply them all."
                )
            ]
        )
    return specs[0]


def all_from_yaml(text: str) -> list[ServingSpec]:
    """The servings of a text with one or more documents. Raises DocumentError with every problem
    of every document."""
    specs: list[ServingSpec] = []
    found: list[DocumentProblem] = []
    for node in _documents(text):
        spec, problems = _read(node)
        found += problems
        if spec is not None:
            specs.append(spec)
    if found:
        raise DocumentError(found)
    if not specs:
        message = f"The text holds no serving; start it with apiVersion: {API_VERSION}."
        raise DocumentError([DocumentProblem(0, "", message)])
    return specs


def _variable(one: EnvVar) -> dict[str, Any]:
    if one.secret is not None:
        return {"name": one.name, "secret": {"name": one.secret.name, "key": one.secret.key}}
    if one.config_map is not None:
        ref = {"name": one.config_map.name, "key": one.config_map.key}
        return {"name": one.name, "configMap": ref}
    return {"name": one.name, "value": one.value}


def _documents(text: str) -> list[yaml.Node]:
    if len(text) > LONGEST:
        raise DocumentError(
            [DocumentProblem(0, "", "The text is longer than a million characters.")]
        )
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            # An alias can stand for a document that is a billion times as long as its text.
            if isinstance(event, yaml.AliasEvent):
                raise DocumentError(
                    [
                        DocumentProblem(
                            _line(event), "", "Aliases are not read; write the value out."
                        )
                    ]
                )
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                depth += 1
                if depth > DEEPEST:
                    raise DocumentError(
                        [
                            DocumentProblem(
                                _line(event), "", "This is nested too deeply; flatten it."
                            )
                        ]
                    )
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                depth -= 1
        return [one for one in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _empty(one)]
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        why = exc.problem or exc.context or "it cannot be read"
        line = mark.line + 1 if mark else 0
        raise DocumentError([DocumentProblem(line, "", f"This is not YAML: {why}.")]) from None
    except yaml.YAMLError as exc:
        line = text[: getattr(exc, "position", 0)].count("\n") + 1
        why = getattr(exc, "reason", "it cannot be read")
        raise DocumentError([DocumentProblem(line, "", f"This is not YAML: {why}.")]) from None


def _read(node: yaml.Node) -> tuple[ServingSpec | None, list[DocumentProblem]]:
    lines: dict[str, int] = {}
    twice: list[DocumentProblem] = []
    document = _plain(node, "", lines, twice)
    if twice:
        return None, twice
    if not isinstance(document, Mapping):
        return None, [DocumentProblem(_line(node), "", "A serving is a mapping of fields.")]
    first = _line(node)
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != wanted:
            line = lines.get(field, first)
            return None, [DocumentProblem(line, field, f"This must be {wanted}; correct it.")]
    problems = [
        DocumentProblem(lines[key], key, "There is no such field; correct its name or remove it.")
        for key in document
        if key not in ("apiVersion", "kind", "metadata", "spec")
    ]
    metadata, body = document.get("metadata"), document.get("spec")
    for field, value in (("metadata", metadata), ("spec", body)):
        if not isinstance(value, Mapping):
            line = lines.get(field, first)
            problems.append(DocumentProblem(line, field, "Write a mapping here; it is missing."))
    if not isinstance(metadata, Mapping) or not isinstance(body, Mapping):
        return None, problems
    problems += [
        DocumentProblem(
            lines[f"metadata.{key}"], f"metadata.{key}", "Only name and namespace are read here."
        )
        for key in metadata
        if key not in ("name", "namespace")
    ]
    problems += [
        DocumentProblem(
            lines[f"spec.{key}"], f"spec.{key}", "The name and the namespace belong to metadata."
        )
        for key in body
        if key in ("name", "project")
    ]
    if problems:
        return None, problems
    raw = {**body, "name": metadata.get("name"), "project": metadata.get("namespace")}
    spec, wrong = parse(raw)
    return spec, [_placed(one, lines, first) for one in wrong]


def place_of(field: str) -> str:
    """Where a field of the spec stands in the document: "spec.settings.maxModelLen"."""
    if field in ("name", "project"):
        return "metadata.namespace" if field == "project" else "metadata.name"
    return ".".join(camel(part) for part in f"spec.{field}".split("."))


def _placed(problem: Problem, lines: Mapping[str, int], first: int) -> DocumentProblem:
    """The problem with the line of its field, or of the nearest field around it."""
    path = place_of(problem.field)
    around = path
    while around and around not in lines:
        around = around.rpartition(".")[0]
    return DocumentProblem(lines.get(around, first), path, problem.message)


def _plain(node: yaml.Node, path: str, lines: dict[str, int], twice: list[DocumentProblem]) -> Any:
    """Mappings, lists and texts of a node; the line of each field goes to `lines`."""
    if isinstance(node, yaml.MappingNode):
        found: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            here = f"{path}.{key}" if path else key
            if key in found:
                message = f"This field is already written on line {lines[here]}; keep one of them."
                twice.append(DocumentProblem(_line(key_node), here, message))
                continue
            lines[here] = _line(key_node)
            found[key] = _plain(value_node, here, lines, twice)
        return found
    if isinstance(node, yaml.SequenceNode):
        entries = []
        for at, one in enumerate(node.value):
            lines[f"{path}.{at}"] = _line(one)
            entries.append(_plain(one, f"{path}.{at}", lines, twice))
        return entries
    return None if _empty(node) else node.value


def _empty(node: yaml.Node | None) -> bool:
    """Nothing, ~ or null, written without quotes."""
    return node is None or (
        isinstance(node, yaml.ScalarNode)
        and node.style is None
        and node.value in ("", "~", "null", "Null", "NULL")
    )


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
