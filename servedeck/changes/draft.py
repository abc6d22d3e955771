"""What was typed into the create form, stored as typed, even if it is invalid."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from servedeck.changes.form_fields import (
    COMMON_FIELDS,
    OPTIONAL_FIELDS,
    SWITCHED_FIELDS,
    applies,
    has_accelerator,
    switch_of,
)
from servedeck.serving.spec import validation
from servedeck.serving.spec.env_file import contains_secret, looks_secret
from servedeck.serving.spec.fields import format_value
from servedeck.serving.spec.issues import Issue, error, warning
from servedeck.serving.spec.rollouts import default_rollout
from servedeck.serving.spec.spec import FIELDS, ServingSpec, parse_spec
from servedeck.serving.spec.templates import TEMPLATES, Template, find_template
from servedeck.serving.spec.types import EnvVar

DraftRow = dict[str, str]
"""Texts of one volume (pvc, mount_path, read_only) or one variable (name, value, source, ref, key);
source is "" for a plain value, "secret" or "config_map". A line of an env file that could not be
read is a variable too, so that it can be fixed: source "line", the line as value, its number as
ref, and the error as key. A value that is not saved in the draft's file is "" and has `NOT_KEPT` as
key."""

EMPTY_VOLUME = {"pvc": "", "mount_path": "", "read_only": "false"}
VALUE_NOT_SAVED = "not kept"
"""Key of a variable whose plain value looks secret and so is not in the draft's file."""
VALUE_UNCHANGED = "as it was read"
"""Key of such a variable of an existing serving, where the value was not changed."""

EMPTY_VARIABLE = {"name": "", "value": "", "source": "", "ref": "", "key": "", "optional": ""}
_TEMPLATE_DEFAULTS = ("image", "accelerator")
"""Common fields for which a template has a default."""
_MAX_PATH_LENGTH = 1000
TRANSFORMER_TEXTS = tuple(one.name for one in FIELDS["transformer"].inputs)
"""Parts of the transformer that are single texts."""
LIST_FIELDS = {"volumes": EMPTY_VOLUME, "env": EMPTY_VARIABLE, "transformer.env": EMPTY_VARIABLE}
"""Fields that hold rows, each with an empty row."""


class Draft:
    """Texts of all fields by path ("name", "settings.model"), and the rows of lists."""

    def __init__(self, template: str = "", namespace: str = "") -> None:
        self.texts: dict[str, str] = {
            field.name: format_value(field.default)
            for field in COMMON_FIELDS
            if field.name not in OPTIONAL_FIELDS
        }
        self.rows: dict[str, list[DraftRow]] = {path: [] for path in LIST_FIELDS}
        self.texts["namespace"] = namespace
        self.omitted_secrets: frozenset[str] = frozenset()
        """Texts that were not saved in the draft's file because they look secret."""
        self.unchanged_secrets: frozenset[str] = frozenset()
        """Such texts of an existing serving that are as they were read."""
        self.step = 1
        """The step of the form when it was closed."""
        self.focused_field = ""
        """The focused field then, "" for none."""
        self.base: Draft | None = None
        """Of an existing serving: its texts and rows as they were read."""
        self.revision_base = ""
        """Of a second revision: what it begins from, as `RevisionBase.encode` returns it."""
        self.set_template(template or next(iter(TEMPLATES)))

    def propose(self, defaults: Mapping[str, str]) -> None:
        """Fill the fields that are empty with a platform's defaults, by their names."""
        for name, text in defaults.items():
            if not self.texts.get(name):
                self.texts[name] = text

    @property
    def template(self) -> Template:
        """The chosen template; the first one if the text names none."""
        return find_template(self.texts["template"]) or next(iter(TEMPLATES.values()))

    def set_template(self, name: str) -> None:
        """Switch to another template. Its defaults (image, accelerator) replace only the defaults
        of the previous one; texts of fields that both have stay."""
        before = find_template(self.texts.get("template", ""))
        self.texts["template"] = name
        after = self.template
        for path in _TEMPLATE_DEFAULTS:
            proposed = getattr(before, path) if before else ""
            if self.texts[path] in ("", proposed):
                self.texts[path] = getattr(after, path)
        for field in after.fields:
            self.texts.setdefault(f"settings.{field.name}", format_value(field.default))

    @property
    def has_transformer(self) -> bool:
        """Whether any of its fields is set; a missing image is then an error."""
        typed = any(self.texts[f"transformer.{part}"].strip() for part in ("image", "command"))
        return typed or bool(self.rows["transformer.env"])

    @property
    def rollout(self) -> str:
        """The rollout as it was chosen, or the default for the accelerator."""
        accelerator = self.texts["accelerator"].strip() if has_accelerator(self.texts) else ""
        return self.texts["rollout"] or default_rollout(accelerator)

    # -- to and from a spec ---------------------------------------------------------------------

    def to_document(self) -> dict[str, Any]:
        """The mapping that `servedeck.serving.spec.spec.parse` reads; only the chosen template's
        settings are in it."""
        texts = self.texts
        settings = {field.name: texts[f"settings.{field.name}"] for field in self.template.fields}
        document: dict[str, Any] = {
            path: text for path, text in texts.items() if "." not in path and applies(path, texts)
        }
        document["settings"] = settings
        document["rollout"] = self.rollout
        document["volumes"] = [
            {key: row[key] for key in ("pvc", "mount_path", "read_only")}
            for row in self.rows["volumes"]
        ]
        document["env"] = [env_var_document(row) for row in self.rows["env"]]
        if self.has_transformer:
            document["transformer"] = {
                **{name: texts[f"transformer.{name}"] for name in TRANSFORMER_TEXTS},
                "env": [env_var_document(row) for row in self.rows["transformer.env"]],
            }
        return document

    def validate(self) -> tuple[ServingSpec | None, list[Issue]]:
        """The spec, or None if a field cannot be parsed, and all errors and warnings. The other
        fields are checked even if one cannot be parsed.
        """
        spec, found = self._validate_spec()
        unread = [one.field for one in self._unread_line_issues()]
        return spec, [
            *(one for one in found if not any(_overlaps(one.field, path) for path in unread)),
            *self.unread_issues(),
        ]

    def unread_issues(self) -> list[Issue]:
        """Lines that are no variables, and what was not saved in the draft's file."""
        return [*self._unread_line_issues(), *self._omitted_secret_issues()]

    def _unread_line_issues(self) -> Iterator[Issue]:
        for path in ("env", "transformer.env"):
            for at, row in enumerate(self.rows[path]):
                if row["source"] == "line":
                    yield error(f"{path}.{at}", f"Line {row['ref']}: {row['key']}")

    def _omitted_secret_issues(self) -> Iterator[Issue]:
        """What was not saved in the draft's file and not entered again."""
        why = "It looks like a secret, so it was not saved in the draft: enter it again"
        for path in ("env", "transformer.env"):
            for at, row in enumerate(self.rows[path]):
                if not row["source"] and row["key"] == VALUE_NOT_SAVED and not row["value"]:
                    yield error(f"{path}.{at}.value", f"{why}, or remove the variable.")
        for path in sorted(self.omitted_secrets):
            if not self.texts.get(path):
                yield warning(path, f"{why}.")

    def _validate_spec(self) -> tuple[ServingSpec | None, list[Issue]]:
        document = self.to_document()
        spec, unreadable = parse_spec(document)
        if spec is not None:
            return spec, validation.validate(spec)
        wrong = {problem.field for problem in unreadable}
        rest, _ = parse_spec(_without_fields(document, wrong))
        found = validation.validate(rest) if rest is not None else []
        return None, [
            *unreadable,
            *(problem for problem in found if not any(_overlaps(problem.field, w) for w in wrong)),
        ]

    @classmethod
    def from_spec(cls, spec: ServingSpec) -> Draft:
        """The draft of a spec."""
        draft = cls(spec.template, spec.namespace)
        for field in COMMON_FIELDS:
            if "." in field.name:
                continue
            value = getattr(spec, field.name)
            absent = ServingSpec.model_fields[field.name].get_default()
            if value != absent or field.name not in OPTIONAL_FIELDS:
                draft.texts[field.name] = format_value(value)
        for name in SWITCHED_FIELDS:
            if switch_of(name) in draft.texts:  # what it has when another choice is made
                draft.texts.setdefault(name, format_value(FIELDS[name].default))
        for name, value in spec.settings.items():
            draft.texts[f"settings.{name}"] = format_value(value)
        draft.rows["volumes"] = [
            {
                "pvc": volume.pvc,
                "mount_path": volume.mount_path,
                "read_only": format_value(volume.read_only),
            }
            for volume in spec.volumes
        ]
        draft.rows["env"] = [_env_var_row(one) for one in spec.env]
        if spec.transformer:
            for name in TRANSFORMER_TEXTS:
                draft.texts[f"transformer.{name}"] = format_value(getattr(spec.transformer, name))
            draft.rows["transformer.env"] = [_env_var_row(one) for one in spec.transformer.env]
        return draft

    @classmethod
    def from_serving(cls, spec: ServingSpec) -> Draft:
        """The draft of an existing serving, with all fields: a limit that it does not have is
        empty, as is the start-up time without a start-up probe, and an endpoint that the template
        sets is what it sets."""
        draft = cls.from_spec(spec)
        for name in OPTIONAL_FIELDS - {"revision_of"}:  # only a revision shows whose it is
            # Of a setting that is off, what it has when it is turned on.
            default = FIELDS[name].default if name in SWITCHED_FIELDS else ""
            if name != "startup_path":  # that of the other probes
                draft.texts.setdefault(name, format_value(default))
        draft.texts["readiness_path"] = spec.effective_readiness_path
        draft.texts["liveness_path"] = spec.effective_liveness_path
        draft.texts["startup_seconds"] = format_value(spec.startup_seconds or None)
        return draft

    # -- to and from a file ---------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All that was typed."""
        return {"texts": dict(self.texts), "rows": copy.deepcopy(self.rows)}

    def to_saved_dict(self, *, is_base: bool = False) -> dict[str, Any]:
        """What is saved in a file: all that was typed except what looks secret, and the position in
        the form. `is_base` if it is what was read of an existing serving."""
        texts = {path: "" if contains_secret(text) else text for path, text in self.texts.items()}
        base_texts = self.base.texts if self.base is not None else {}
        lost = {
            path
            for path, text in self.texts.items()
            if text and not texts[path] and text != base_texts.get(path)
        } | {path for path in self.omitted_secrets if not texts.get(path)}
        unchanged = {path for path, text in self.texts.items() if text and not texts[path]} - lost
        base_rows = self.base.rows if self.base is not None else {}
        rows = {
            path: [
                _omit_secret(row, unchanged=is_base or row in base_rows.get(path, ()))
                if path != "volumes"
                else dict(row)
                for row in rows
            ]
            for path, rows in self.rows.items()
        }
        return {
            "texts": texts,
            "rows": rows,
            "lost": sorted(lost),
            "unchanged": sorted(unchanged),
            "step": self.step,
            "field": self.focused_field,
            **({"revisionBase": self.revision_base} if self.revision_base else {}),
            **({"base": self.base.to_saved_dict(is_base=True)} if self.base is not None else {}),
        }

    @classmethod
    def from_saved_dict(cls, data: object, *, is_base: bool = False) -> Draft:
        """A draft from its saved form; damaged parts, or parts of another version, get their
        defaults. `is_base` if it is what was read of an existing serving, which has none of the
        template's defaults."""
        draft = cls()
        if not isinstance(data, Mapping):
            return draft
        texts, rows = data.get("texts"), data.get("rows")
        draft.omitted_secrets = _read_paths(data.get("lost"))
        draft.unchanged_secrets = _read_paths(data.get("unchanged"))
        if isinstance(data.get("base"), Mapping):
            draft.base = cls.from_saved_dict(data["base"], is_base=True)
        if data.get("step") in (1, 2, 3, 4) and isinstance(data.get("field", ""), str):
            draft.step = int(data["step"])
            draft.focused_field = field if _is_path(field := data.get("field", "")) else ""
        if isinstance(data.get("revisionBase"), str):
            draft.revision_base = data["revisionBase"]
        if isinstance(texts, Mapping):
            given = {k: v for k, v in texts.items() if isinstance(k, str) and isinstance(v, str)}
            draft.set_template(given.get("template", draft.texts["template"]))
            if is_base:
                draft.texts |= dict.fromkeys(_TEMPLATE_DEFAULTS, "")
            draft.texts.update(given)  # also an empty text, where the default was removed
        if draft.base is not None and "unchanged" not in data:  # a file of an earlier version
            omitted = draft.base.omitted_secrets - draft.omitted_secrets
            draft.unchanged_secrets = frozenset(one for one in omitted if not draft.texts.get(one))
        if isinstance(rows, Mapping):
            for path, empty in LIST_FIELDS.items():
                entries = rows.get(path)
                draft.rows[path] = [
                    {key: str(entry.get(key, default)) for key, default in empty.items()}
                    for entry in (entries if isinstance(entries, list) else [])
                    if isinstance(entry, Mapping)
                ]
        return draft

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Draft) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


def _read_paths(saved: object) -> frozenset[str]:
    found = saved if isinstance(saved, list) else []
    return frozenset(path for path in found if _is_path(path))


def _is_path(saved: object) -> TypeGuard[str]:
    """Whether it may be the path of a field, as far as reading the index of a row in it goes: not a
    digit that int() does not know ("²"), nor more digits than it reads."""
    return isinstance(saved, str) and saved.isascii() and len(saved) <= _MAX_PATH_LENGTH


def env_var_document(row: DraftRow) -> dict[str, Any]:
    """The variable of a row as `EnvVar` reads it."""
    if row["source"] == "line":
        return {"name": row["value"]}
    if row["source"]:
        reference: dict[str, Any] = {"name": row["ref"], "key": row["key"]}
        if row.get("optional"):
            reference["optional"] = True
        return {"name": row["name"], row["source"]: reference}
    return {"name": row["name"], "value": row["value"]}


def _omit_secret(row: DraftRow, *, unchanged: bool = False) -> DraftRow:
    """The variable as it is saved; `unchanged` if the serving has it so."""
    if row["source"] == "line" and (
        contains_secret(row["value"]) or looks_secret(*_split_assignment(row))
    ):
        message = "It looks like a secret, so it was not saved in the draft: enter it again."
        return {**row, "value": "", "key": message}
    if not row["source"] and row["value"]:
        name, value = row["name"], row["value"]
        if looks_secret(name, value) or contains_secret(value):
            key = VALUE_UNCHANGED if unchanged else VALUE_NOT_SAVED
            return {**row, "value": "", "key": key}
    return dict(row)


def _split_assignment(row: DraftRow) -> tuple[str, str]:
    """Name and value of a line that could not be parsed, as far as it has them."""
    name, _, value = row["value"].partition("=")
    return name, value


def _env_var_row(env_var: EnvVar) -> DraftRow:
    row = {**EMPTY_VARIABLE, "name": env_var.name, "value": env_var.value}
    for source, ref in (("secret", env_var.secret), ("config_map", env_var.config_map)):
        if ref is not None:
            optional = "true" if ref.optional else ""
            row |= {"source": source, "ref": ref.name, "key": ref.key, "optional": optional}
    return row


def _overlaps(field: str, other: str) -> bool:
    return field == other or field.startswith(f"{other}.") or other.startswith(f"{field}.")


def _without_fields(document: dict[str, Any], paths: set[str]) -> dict[str, Any]:
    """The document with the fields at `paths` at their defaults; of a list, the whole row goes."""
    rest = copy.deepcopy(document)
    for path in sorted(paths, reverse=True):  # later rows first, so that indexes stay valid
        head, _, tail = path.partition(".")
        if head in ("volumes", "env"):
            index = tail.partition(".")[0]
            if index.isdigit() and int(index) < len(rest[head]):
                del rest[head][int(index)]
        elif head == "transformer":
            rest.pop("transformer", None)
        elif head == "settings" and tail:
            rest["settings"].pop(tail, None)
        elif head not in ("name", "template"):
            rest.pop(head, None)
    return rest
