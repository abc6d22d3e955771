"""What is typed into the form of a serving: every field's raw text, kept as typed, with the fields
to show and what is wrong with them.

A `Draft` knows texts only, so nothing that was typed is lost by being wrong, by changing the
template back and forth, or by closing the terminal (`to_json`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from servedeck.serving import checks
from servedeck.serving.env import BadLine, render
from servedeck.serving.env import parse as parse_env
from servedeck.serving.fields import Field, Kind, as_text
from servedeck.serving.problems import Problem, error
from servedeck.serving.spec import EnvVar, ServingSpec, parse
from servedeck.serving.templates import TEMPLATES, find

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Section:
    id: str
    title: str
    step: int
    """Step of the wizard: 1 or 2."""
    fields: tuple[tuple[str, Field], ...]
    """(path, field): the path is what problems name and `Draft.text` takes."""
    rows: str = ""
    """Path of the list that the fields are columns of, "" for single fields."""


_BASIC = (
    Field(
        "name",
        "Service Name",
        "Lower-case letters, digits and hyphens, up to 63 characters",
        required=True,
    ),
    Field("project", "Project", "Namespace to deploy to", Kind.SUGGESTION, required=True),
    Field("description", "Description", "What the serving is for"),
    Field(
        "template",
        "Service Template",
        "Inference framework",
        Kind.CHOICE,
        default=next(iter(TEMPLATES)),
        required=True,
        choices=tuple(TEMPLATES),
    ),
)
_CONTAINER = (
    Field("image", "Image", "Container image", required=True),
    Field("cpu", "CPU", "Number of CPU cores: 0.5 or 500m", Kind.QUANTITY, default="0.5"),
    Field("memory", "Memory", "Memory: 1Gi or 512Mi", Kind.QUANTITY, default="1Gi"),
    Field(
        "accelerator",
        "Accelerator",
        "Accelerator type, or another resource key of the nodes; empty for none",
        Kind.SUGGESTION,
        choices=("nvidia.com/gpu", "furiosa.ai/rngd"),
    ),
    Field(
        "accelerator_count",
        "Accelerator Count",
        "Number of accelerators of each replica",
        Kind.INTEGER,
        default=1,
    ),
    Field("replicas", "Replicas", "Number of service containers", Kind.INTEGER, default=1),
)
_VOLUME = (
    Field("claim", "PVC", "PersistentVolumeClaim of the project", Kind.SUGGESTION, required=True),
    Field("mount_path", "Mount Path", "Absolute path in the container", required=True),
    Field("read_only", "Read-only", "Mount without the right to write", Kind.FLAG, "false"),
)
_ADVANCED = (
    Field("inference_port", "Inference Port", "Service inference port", Kind.INTEGER, default=8000),
    Field(
        "command",
        "Command Override",
        "Container start command; empty for the template's own",
        Kind.ARGUMENTS,
        default=(),
    ),
)
_ENV = (
    Field("name", "Name", "Name of the variable", required=True),
    Field("value", "Value", "Its value; empty where a Secret or a ConfigMap holds it"),
    Field("secret.name", "Secret", "Secret that holds the value"),
    Field("secret.key", "Key", "Key of the Secret"),
    Field("config_map.name", "ConfigMap", "ConfigMap that holds the value"),
    Field("config_map.key", "Key", "Key of the ConfigMap"),
)
_TRANSFORMER = (
    Field("image", "Image", "Container image of the pre/post-processing sidecar"),
    Field("port", "Port", "Port that it listens on", Kind.INTEGER, default=8080),
    Field("command", "Command", "Its start command", Kind.ARGUMENTS, default=()),
)

ROW_FIELDS = {"volumes": _VOLUME, "env": _ENV, "transformer.env": _ENV}


def sections(template_id: str) -> tuple[Section, ...]:
    """Everything to show for a template, in order. Fields of an unknown template are left out."""
    template = find(template_id)
    own = template.fields if template else ()
    return (
        Section("basic", "Basic Information", 1, _at("", _BASIC)),
        Section("container", "Container", 2, _at("", _CONTAINER)),
        Section(
            "template",
            template.label if template else "Template",
            2,
            _at("settings.", tuple(field for field in own if not field.advanced)),
        ),
        Section("volumes", "Data Volumes", 2, _at("", _VOLUME), rows="volumes"),
        Section(
            "advanced",
            "Advanced Settings",
            2,
            (
                *_at("", _ADVANCED),
                *_at("settings.", tuple(field for field in own if field.advanced)),
            ),
        ),
        Section("env", "Environment Variables", 2, _at("", _ENV), rows="env"),
        Section("transformer", "Transformer", 2, _at("transformer.", _TRANSFORMER)),
        Section(
            "transformer.env",
            "Environment of the Transformer",
            2,
            _at("", _ENV),
            rows="transformer.env",
        ),
    )


def field_at(path: str, template_id: str) -> Field | None:
    """The field of a problem's path: "cpu", "settings.model", "env.2.secret.key"."""
    for rows, columns in ROW_FIELDS.items():
        head, _, tail = path.removeprefix(rows).lstrip(".").partition(".")
        if path.startswith(f"{rows}.") and head.isdigit():
            return next((field for field in columns if field.name == tail), None)
    for section in sections(template_id):
        if section.rows:
            continue
        for at, field in section.fields:
            if at == path:
                return field
    return None


class Draft:
    """Texts of a form. Paths are those of problems: "cpu", "settings.model", "env.0.name"."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._settings: dict[str, dict[str, str]] = {}
        self._rows: dict[str, list[Row]] = {path: [] for path in ROW_FIELDS}
        self._unread: dict[str, list[BadLine]] = {}
        self.has_transformer = False

    @classmethod
    def from_spec(cls, spec: ServingSpec) -> Self:
        """The draft that an existing serving is edited or cloned with."""
        draft = cls()
        for field in (*_BASIC, *_CONTAINER, *_ADVANCED):
            draft._texts[field.name] = as_text(getattr(spec, field.name))
        for field in spec.server.fields:
            draft.set(f"settings.{field.name}", field.text(spec.settings[field.name]))
        for name in ("readiness_path", "liveness_path"):
            if (value := getattr(spec, name)) is not None:
                draft._texts[name] = value
        draft._rows["volumes"] = [
            {
                "claim": one.claim,
                "mount_path": one.mount_path,
                "read_only": as_text(one.read_only),
            }
            for one in spec.volumes
        ]
        draft._rows["env"] = [_env_row(one) for one in spec.env]
        if spec.transformer is not None:
            draft.has_transformer = True
            for field in _TRANSFORMER:
                draft._texts[f"transformer.{field.name}"] = as_text(
                    getattr(spec.transformer, field.name)
                )
            draft._rows["transformer.env"] = [_env_row(one) for one in spec.transformer.env]
        return draft

    # -- texts --------------------------------------------------------------------------------

    @property
    def template(self) -> str:
        return self.text("template")

    def text(self, path: str) -> str:
        """What stands in the field: as typed, else its default."""
        if (place := self._place(path)) is not None:
            row, name = place
            return row.get(name, "")
        if path.startswith("settings."):
            typed = self._settings.get(self.template, {}).get(path.removeprefix("settings."))
        else:
            typed = self._texts.get(path)
        if typed is not None:
            return typed
        # Not through field_at: the template's own text decides about the settings' fields.
        for field in (*_BASIC, *_CONTAINER, *_ADVANCED):
            if field.name == path:
                return field.text(field.default)
        found = field_at(path, self.template)
        return found.text(found.default) if found else ""

    def set(self, path: str, text: str) -> None:
        """Keep what was typed. Raises KeyError for a row that does not exist."""
        if (place := self._place(path)) is not None:
            row, name = place
            row[name] = text
        elif path.startswith("settings."):
            own = self._settings.setdefault(self.template, {})
            own[path.removeprefix("settings.")] = text
        else:
            self._texts[path] = text

    def choose_template(self, template_id: str) -> None:
        """Change the template. Its image and accelerator are proposed where nothing else was
        chosen; what was typed for another template is kept for when it comes back."""
        before, after = find(self.template), find(template_id)
        for name in ("image", "accelerator"):
            proposed = getattr(before, name) if before else ""
            if after and self._texts.get(name, "") in ("", proposed):
                self._texts[name] = getattr(after, name)
        self._texts["template"] = template_id

    # -- rows ---------------------------------------------------------------------------------

    def rows(self, path: str) -> int:
        return len(self._rows[path])

    def add_row(self, path: str, **texts: str) -> int:
        """Append a row to "volumes", "env" or "transformer.env"; its index."""
        self._rows[path].append({name.replace("__", "."): text for name, text in texts.items()})
        return len(self._rows[path]) - 1

    def remove_row(self, path: str, index: int) -> None:
        del self._rows[path][index]

    def paste_env(self, path: str, text: str) -> tuple[BadLine, ...]:
        """Take in KEY=VALUE lines or an env file. A name that is there gets the new value; lines
        that cannot be read are kept as `unread`, and are errors until removed."""
        parsed = parse_env(text)
        by_name = {row.get("name", ""): row for row in self._rows[path]}
        for one in parsed.assignments:
            if one.name in by_name:
                by_name[one.name].clear()
                by_name[one.name].update(name=one.name, value=one.value)
            else:
                row = {"name": one.name, "value": one.value}
                by_name[one.name] = row
                self._rows[path].append(row)
        if parsed.bad:
            self._unread.setdefault(path, []).extend(parsed.bad)
        return parsed.bad

    def env_text(self, path: str) -> str:
        """The rows with plain values as an env file, to be edited as text."""
        rows = self._rows[path]
        plain = [row for row in rows if not any("." in name and row[name] for name in row)]
        return render((row.get("name", ""), row.get("value", "")) for row in plain)

    def unread(self, path: str) -> tuple[BadLine, ...]:
        return tuple(self._unread.get(path, ()))

    def drop_unread(self, path: str, index: int) -> None:
        del self._unread[path][index]

    # -- meaning ------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        """Everything that is wrong or doubtful. Fields that cannot be read are errors; the rules
        between fields are applied to the others all the same."""
        document = self.document()
        spec, found = parse(document)
        broken = {problem.field for problem in found}
        if spec is None:
            spec, _ = parse(_without(document, broken))
        if spec is not None:
            found += [one for one in checks.problems(spec) if one.field not in broken]
        for path, lines in self._unread.items():
            found += [
                error(f"{path}.unread.{at}", f"Line {line.line}: {line.message}")
                for at, line in enumerate(lines)
            ]
        return found

    def problem(self, path: str) -> Problem | None:
        """The first problem of one field, errors first."""
        here = [one for one in self.check() if one.field == path]
        return min(here, key=lambda one: not one.is_error, default=None)

    def spec(self) -> ServingSpec | None:
        """The serving, None while a field cannot be read. It may still have problems."""
        return parse(self.document())[0]

    def document(self) -> dict[str, Any]:
        """Raw values in the spec's shape, for `spec.parse`."""
        document: dict[str, Any] = {
            field.name: self.text(field.name) for field in (*_BASIC, *_CONTAINER, *_ADVANCED)
        }
        for name in ("readiness_path", "liveness_path"):
            if name in self._texts:
                document[name] = self._texts[name]
        template = find(self.template)
        document["settings"] = {
            field.name: self.text(f"settings.{field.name}")
            for field in (template.fields if template else ())
        }
        document["volumes"] = [dict(row) for row in self._rows["volumes"]]
        document["env"] = [_nested(row) for row in self._rows["env"]]
        if self.has_transformer:
            document["transformer"] = {
                **{field.name: self.text(f"transformer.{field.name}") for field in _TRANSFORMER},
                "env": [_nested(row) for row in self._rows["transformer.env"]],
            }
        return document

    # -- keeping ------------------------------------------------------------------------------

    def to_json(self) -> str:
        return json.dumps(
            {
                "texts": self._texts,
                "settings": self._settings,
                "rows": self._rows,
                "unread": {
                    path: [[one.line, one.text, one.message] for one in lines]
                    for path, lines in self._unread.items()
                },
                "transformer": self.has_transformer,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError with a sentence where the text is no draft."""
        draft = cls()
        try:
            kept = json.loads(text)
            draft._texts = _texts(kept["texts"])
            draft._settings = {str(key): _texts(own) for key, own in kept["settings"].items()}
            draft._rows = {
                path: [_texts(row) for row in kept["rows"].get(path, [])] for path in ROW_FIELDS
            }
            draft._unread = {
                path: [BadLine(int(line), str(text), str(why)) for line, text, why in lines]
                for path, lines in kept["unread"].items()
                if path in ROW_FIELDS
            }
            draft.has_transformer = bool(kept["transformer"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("The kept draft cannot be read; start a new one.") from None
        return draft

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Draft) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def _place(self, path: str) -> tuple[Row, str] | None:
        for rows in ROW_FIELDS:
            index, _, name = path.removeprefix(f"{rows}.").partition(".")
            if path.startswith(f"{rows}.") and index.isdigit() and name:
                try:
                    return self._rows[rows][int(index)], name
                except IndexError:
                    raise KeyError(path) from None
        return None


def _at(prefix: str, fields: tuple[Field, ...]) -> tuple[tuple[str, Field], ...]:
    return tuple((prefix + field.name, field) for field in fields)


def _env_row(one: EnvVar) -> Row:
    row = {"name": one.name, "value": one.value}
    if one.secret is not None:
        row |= {"secret.name": one.secret.name, "secret.key": one.secret.key}
    if one.config_map is not None:
        row |= {"config_map.name": one.config_map.name, "config_map.key": one.config_map.key}
    return row


def _nested(row: Row) -> dict[str, Any]:
    """A variable of a row; a source whose texts are all empty is none."""
    found: dict[str, Any] = {"name": row.get("name", ""), "value": row.get("value", "")}
    for source in ("secret", "config_map"):
        ref = {part: row.get(f"{source}.{part}", "") for part in ("name", "key")}
        if any(ref.values()):
            found[source] = ref
    return found


_PLACEHOLDERS = {"name": "", "template": "custom"}


def _without(document: Mapping[str, Any], broken: set[str]) -> dict[str, Any]:
    """The document with the fields at the broken paths left at their defaults."""
    kept = copy.deepcopy(dict(document))
    for path in broken:
        *parents, last = path.split(".")
        at: Any = kept
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at.get(part, {})
        if isinstance(at, dict):
            if path in _PLACEHOLDERS:
                at[last] = _PLACEHOLDERS[path]
            else:
                at.pop(last, None)
    return kept


def _texts(kept: Mapping[Any, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in kept.items()}
