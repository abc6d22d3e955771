"""The inputs of a serving's form that are single texts, by section; a template adds its own.

They derive from the table of common fields (`servedeck.serving.spec.spec.FIELDS`).
"""

from __future__ import annotations

from collections.abc import Mapping

from servedeck.serving.spec import load_balancing, scaling, temperature_policy
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


SWITCHED_FIELDS = (
    *scaling.SCALING_FIELDS,
    *load_balancing.LOAD_BALANCING_FIELDS,
    *temperature_policy.TEMPERATURE_FIELDS,
)
"""Switches, each before the fields that apply while it is on."""


def visible_fields(section: Section, texts: Mapping[str, str]) -> tuple[Field, ...]:
    """Inputs of a section for a draft with these texts: without those that have no meaning now."""
    return tuple(
        one
        for one in FIELDS_BY_SECTION[section]
        if (one.name not in OPTIONAL_FIELDS or one.name in texts) and applies(one.name, texts)
    )


def applies(name: str, texts: Mapping[str, str]) -> bool:
    """Whether a field has a meaning with these texts of a draft: the limits of an autoscaler have
    none while auto scaling is off. The text of one that has none is kept, but not read."""
    if name == "accelerator_count":
        return has_accelerator(texts)
    if name in scaling.SCALING_FIELDS[1:]:
        return scaling.applies(name, texts.get("auto_scaling") or scaling.OFF)
    if name == "load_balancing_header":
        return texts.get("load_balancing") == load_balancing.HEADER
    if name in temperature_policy.DEFAULTS:
        return texts.get("temperature_policy") == temperature_policy.ON
    return True


def has_accelerator(texts: Mapping[str, str]) -> bool:
    """Whether these texts of a draft ask for an accelerator; "None" is none, as in a document."""
    return texts.get("accelerator", "").strip().lower() not in ("", "none")


def switch_of(name: str) -> str:
    """The field that decides whether a field applies; the field itself if that is none."""
    if name == "accelerator_count":
        return "accelerator"
    if name in scaling.SCALING_FIELDS:
        return "auto_scaling"
    if name in load_balancing.LOAD_BALANCING_FIELDS:
        return "load_balancing"
    return "temperature_policy" if name in temperature_policy.TEMPERATURE_FIELDS else name
