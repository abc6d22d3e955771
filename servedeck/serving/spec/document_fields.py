"""The names of the fields of a document: those of the documentation, in no other spelling.

The models accept snake case too, for forms and for code; in a document, two spellings of a field
would be two values for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.templates import find_template
from servedeck.serving.spec.templates.base import to_camel_case
from servedeck.serving.spec.types import SpecModel

NO_SUCH_FIELD = "There is no such field; correct its name or remove it."


def unknown_fields(
    value: Any, path: str, model: type[SpecModel] = ServingSpec
) -> Iterator[tuple[str, str]]:
    """Path of each field of a raw value that `model` and its parts do not have, with a sentence."""
    if isinstance(value, list):
        for at, one in enumerate(value):
            yield from unknown_fields(one, f"{path}.{at}", model)
    if not isinstance(value, Mapping):
        return
    parts, spellings = _document_fields(model)
    for key, part in value.items():
        if key not in parts:
            yield f"{path}.{key}", _describe(key, spellings, NO_SUCH_FIELD)
        elif (inner := parts[key]) is not None:
            yield from unknown_fields(part, f"{path}.{key}", inner)
        elif key == "settings" and isinstance(part, Mapping):
            yield from _unknown_settings(part, f"{path}.{key}", value.get("template"))


@cache  # a list may have thousands of entries
def _document_fields(
    model: type[SpecModel],
) -> tuple[Mapping[str, type[SpecModel] | None], Mapping[str, str]]:
    """The fields of a model as a document names them, with the model of those that have one; and
    the same names by their letters and digits alone."""
    parts = {
        to_camel_case(name): _find_model(one.annotation) for name, one in model.model_fields.items()
    }
    return parts, {_normalize(name): name for name in parts}


def _unknown_settings(
    settings: Mapping[str, Any], path: str, template_name: Any
) -> Iterator[tuple[str, str]]:
    template = find_template(template_name.strip()) if isinstance(template_name, str) else None
    if template is None:
        return
    names = [to_camel_case(field.name) for field in template.fields]
    spellings = {_normalize(name): name for name in names}
    for key in settings:
        if key not in names:
            yield f"{path}.{key}", _describe(key, spellings, template.no_such_setting())


def _describe(key: str, spellings: Mapping[str, str], otherwise: str) -> str:
    right = spellings.get(_normalize(key))
    return f"There is no such field; use {right}." if right else otherwise


def _normalize(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _find_model(annotation: Any) -> type[SpecModel] | None:
    """The model in an annotation, such as `tuple[Volume, ...]` or `KeyRef | None`."""
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        return annotation
    found = (_find_model(one) for one in get_args(annotation))
    return next((one for one in found if one is not None), None)
