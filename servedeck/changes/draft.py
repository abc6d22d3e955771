"""What was typed into the create form, kept as it was typed, also what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from servedeck.changes.form import COMMON
from servedeck.serving.spec import validation
from servedeck.serving.spec.env_file import holds_secret, looks_secret
from servedeck.serving.spec.fields import as_text
from servedeck.serving.spec.issues import Problem, error, warning
from servedeck.serving.spec.spec import EnvVar, ServingSpec, parse
from servedeck.serving.spec.templates import TEMPLATES, Template, find

Row = dict[str, str]
"""Texts of one volume (claim, mount_path, read_only) or one variable (name, value, source, ref,
key); source is "" for a plain value, "secret" or "config_map". A line of an env file that could not
be read is a variable too, so that it can be mended: source "line", the line as value, its number as
ref, and what is wrong with it as key. A value that the draft's file did not keep is "" and
has `NOT_KEPT` as key."""

VOLUME = {"claim": "", "mount_path": "", "read_only": "false"}
NOT_KEPT = "not kept"
"""Key of a variable whose plain value looks secret and so is not in the draft's file."""

VARIABLE = {"name": "", "value": "", "source": "", "ref": "", "key": ""}
LISTS = {"volumes": VOLUME, "env": VARIABLE, "transformer.env": VARIABLE}
"""Fields that hold rows, each with an empty row."""


class Draft:
    """Texts of all fields by path ("name", "settings.model"), and the rows of lists."""

    def __init__(self, template: str = "", project: str = "") -> None:
        self.texts: dict[str, str] = {field.name: as_text(field.default) for field in COMMON}
        self.rows: dict[str, list[Row]] = {path: [] for path in LISTS}
        self.texts["project"] = project
        self.lost: frozenset[str] = frozenset()
        """Texts that the draft's file did not keep, as they hold something that looks secret."""
        self.step = 1
        """The step of the form that it was left in."""
        self.field = ""
        """The field that had the focus then, "" for none."""
        self.choose_template(template or next(iter(TEMPLATES)))

    @property
    def template(self) -> Template:
        """The template chosen; the first one where the text names none."""
        return find(self.texts["template"]) or next(iter(TEMPLATES.values()))

    def choose_template(self, name: str) -> None:
        """Take another template. What it proposes (image, accelerator) replaces only what the
        last one proposed; texts of fields that both have stay."""
        before = find(self.texts.get("template", ""))
        self.texts["template"] = name
        after = self.template
        for path in ("image", "accelerator"):
            proposed = getattr(before, path) if before else ""
            if self.texts[path] in ("", proposed):
                self.texts[path] = getattr(after, path)
        for field in after.fields:
            self.texts.setdefault(f"settings.{field.name}", as_text(field.default))

    @property
    def has_transformer(self) -> bool:
        """Whether something was written about one; its image is then missing, not the rest
        forgotten."""
        typed = any(self.texts[f"transformer.{part}"].strip() for part in ("image", "command"))
        return typed or bool(self.rows["transformer.env"])

    # -- to and from a spec ---------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """The mapping that `servedeck.serving.spec.spec.parse` reads; only the chosen template's
        settings are in it."""
        texts = self.texts
        settings = {field.name: texts[f"settings.{field.name}"] for field in self.template.fields}
        document: dict[str, Any] = {path: text for path, text in texts.items() if "." not in path}
        document["settings"] = settings
        document["volumes"] = [
            {key: row[key] for key in ("claim", "mount_path", "read_only")}
            for row in self.rows["volumes"]
        ]
        document["env"] = [_variable(row) for row in self.rows["env"]]
        if self.has_transformer:
            document["transformer"] = {
                "image": texts["transformer.image"],
                "port": texts["transformer.port"],
                "command": texts["transformer.command"],
                "env": [_variable(row) for row in self.rows["transformer.env"]],
            }
        return document

    def check(self) -> tuple[ServingSpec | None, list[Problem]]:
        """The spec, or None where a field cannot be read, and everything that is wrong or doubtful.

        Fields that cannot be read do not keep the others from being checked.
        """
        spec, found = self._check()
        unread = {
            f"{path}.{at}": row
            for path in ("env", "transformer.env")
            for at, row in enumerate(self.rows[path])
            if row["source"] == "line"
        }
        return spec, [
            *(one for one in found if not any(_touches(one.field, path) for path in unread)),
            *(error(path, f"Line {row['ref']}: {row['key']}") for path, row in unread.items()),
            *self._lost(),
        ]

    def _lost(self) -> Iterator[Problem]:
        """What the draft's file did not keep and nobody entered again."""
        why = "It looks secret, so it was not kept in the draft: enter it again"
        for path in ("env", "transformer.env"):
            for at, row in enumerate(self.rows[path]):
                if not row["source"] and row["key"] == NOT_KEPT and not row["value"]:
                    yield error(f"{path}.{at}.value", f"{why}, or remove the variable.")
        for path in sorted(self.lost):
            if not self.texts.get(path):
                yield warning(path, f"{why}.")

    def _check(self) -> tuple[ServingSpec | None, list[Problem]]:
        document = self.document()
        spec, unreadable = parse(document)
        if spec is not None:
            return spec, validation.problems(spec)
        wrong = {problem.field for problem in unreadable}
        rest, _ = parse(_without(document, wrong))
        found = validation.problems(rest) if rest is not None else []
        return None, [
            *unreadable,
            *(problem for problem in found if not any(_touches(problem.field, w) for w in wrong)),
        ]

    @classmethod
    def of(cls, spec: ServingSpec) -> Draft:
        """A draft that reads as `spec`."""
        draft = cls(spec.template, spec.project)
        for field in COMMON:
            if "." not in field.name:
                draft.texts[field.name] = as_text(getattr(spec, field.name))
        for name, value in spec.settings.items():
            draft.texts[f"settings.{name}"] = as_text(value)
        draft.rows["volumes"] = [
            {
                "claim": volume.claim,
                "mount_path": volume.mount_path,
                "read_only": as_text(volume.read_only),
            }
            for volume in spec.volumes
        ]
        draft.rows["env"] = [_row(one) for one in spec.env]
        if spec.transformer:
            draft.texts["transformer.image"] = spec.transformer.image
            draft.texts["transformer.port"] = as_text(spec.transformer.port)
            draft.texts["transformer.command"] = as_text(spec.transformer.command)
            draft.rows["transformer.env"] = [_row(one) for one in spec.transformer.env]
        for path in ("readiness_path", "liveness_path"):
            if (value := getattr(spec, path)) is not None:
                draft.texts[path] = value
        return draft

    # -- to and from a file ---------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """All that was typed."""
        return {"texts": dict(self.texts), "rows": copy.deepcopy(self.rows)}

    def saved(self) -> dict[str, Any]:
        """What a file may keep: all that was typed but for what looks secret, and where the form
        was left."""
        texts = {path: "" if holds_secret(text) else text for path, text in self.texts.items()}
        lost = {path for path, text in self.texts.items() if text and not texts[path]} | {
            path for path in self.lost if not texts.get(path)
        }
        rows = {
            path: [_without_secret(row) if path != "volumes" else dict(row) for row in rows]
            for path, rows in self.rows.items()
        }
        return {
            "texts": texts,
            "rows": rows,
            "lost": sorted(lost),
            "step": self.step,
            "field": self.field,
        }

    @classmethod
    def load(cls, saved: object) -> Draft:
        """A draft from `saved`; what is damaged or of another version falls back to defaults."""
        draft = cls()
        if not isinstance(saved, Mapping):
            return draft
        texts, rows, lost = saved.get("texts"), saved.get("rows"), saved.get("lost")
        if isinstance(lost, list):
            draft.lost = frozenset(path for path in lost if isinstance(path, str))
        if saved.get("step") in (1, 2, 3) and isinstance(saved.get("field", ""), str):
            draft.step, draft.field = int(saved["step"]), saved.get("field", "")
        if isinstance(texts, Mapping):
            given = {k: v for k, v in texts.items() if isinstance(k, str) and isinstance(v, str)}
            draft.texts.update(given)
            draft.choose_template(draft.texts["template"])
        if isinstance(rows, Mapping):
            for path, empty in LISTS.items():
                entries = rows.get(path)
                draft.rows[path] = [
                    {key: str(entry.get(key, default)) for key, default in empty.items()}
                    for entry in (entries if isinstance(entries, list) else [])
                    if isinstance(entry, Mapping)
                ]
        return draft

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Draft) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]


def _variable(row: Row) -> dict[str, Any]:
    if row["source"] == "line":
        return {"name": row["value"]}
    if row["source"]:
        return {"name": row["name"], row["source"]: {"name": row["ref"], "key": row["key"]}}
    return {"name": row["name"], "value": row["value"]}


def _without_secret(row: Row) -> Row:
    """The variable as a file may keep it."""
    if row["source"] == "line" and (holds_secret(row["value"]) or looks_secret(*_halves(row))):
        message = "It looks secret, so it was not kept in the draft: enter it again."
        return {**row, "value": "", "key": message}
    if not row["source"] and row["value"]:
        name, value = row["name"], row["value"]
        if looks_secret(name, value) or holds_secret(value):
            return {**row, "value": "", "key": NOT_KEPT}
    return dict(row)


def _halves(row: Row) -> tuple[str, str]:
    """Name and value of a line that could not be read, as far as it has them."""
    name, _, value = row["value"].partition("=")
    return name, value


def _row(one: EnvVar) -> Row:
    row = {**VARIABLE, "name": one.name, "value": one.value}
    for source, ref in (("secret", one.secret), ("config_map", one.config_map)):
        if ref is not None:
            row |= {"source": source, "ref": ref.name, "key": ref.key}
    return row


def _touches(field: str, other: str) -> bool:
    return field == other or field.startswith(f"{other}.") or other.startswith(f"{field}.")


def _without(document: dict[str, Any], paths: set[str]) -> dict[str, Any]:
    """The document with the fields at `paths` at their defaults; of a list, the whole row goes."""
    rest = copy.deepcopy(document)
    for path in sorted(paths, reverse=True):  # later rows first, so that indexes stay true
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
