"""The inputs of a serving's form that are single texts, by section; a template adds its own.

They derive from the table of common fields (`servedeck.serving.spec.spec.FIELDS`).
"""

from __future__ import annotations

from collections.abc import Container

from servedeck.serving.spec.fields import Field
from servedeck.serving.spec.spec import FIELDS, Section

ROW_FIELDS = ("volumes", "env", "transformer.env")
"""Fields that are rows of inputs."""


def _section_fields(section: Section) -> tuple[Field, ...]:
    found: list[Field] = []
    for name, one in FIELDS.items():
        if one.section is not section or name in ROW_FIELDS:
            continue
        if one.label:
            found.append(one.form_field(name))
        found += [part.with_name(f"{name}.{part.name}") for part in one.inputs]
    return tuple(found)


FIELDS_BY_SECTION = {section: _section_fields(section) for section in Section}
COMMON_FIELDS = tuple(field for one in FIELDS_BY_SECTION.values() for field in one)
OPTIONAL_FIELDS = frozenset(name for name, one in FIELDS.items() if one.only_if_set)
"""Fields that the form of a new serving shows only if they have a value."""


def visible_fields(section: Section, texts: Container[str]) -> tuple[Field, ...]:
    """Inputs of a section for a draft with these texts."""
    return tuple(
        one
        for one in FIELDS_BY_SECTION[section]
        if one.name not in OPTIONAL_FIELDS or one.name in texts
    )
