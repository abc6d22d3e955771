"""A conflict about the settings of a gateway, which are one text of its ConfigMap: setting by
setting, so that it can be seen what would be overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from servedeck.changes.object_writes import ObjectWrite
from servedeck.cluster.apply import Preview
from servedeck.serving.async_limits import LIMITS
from servedeck.serving.objects.async_gateway import SETTINGS_KEY, load_settings
from servedeck.serving.objects.field_changes import FieldConflict
from servedeck.serving.objects.secret_values import mask_at
from servedeck.serving.text import MASK, one_line, sanitize

_PATH = f".data.{SETTINGS_KEY}"
_MAX_LENGTH = 200
"""Characters of a value."""


def with_settings_conflicts(preview: Preview, write: ObjectWrite) -> Preview:
    """The preview with a conflict for each setting that differs, in place of one for the text."""
    rejection = preview.rejection
    if rejection is None or preview.ref.kind != "ConfigMap" or write.live is None:
        return preview
    found: list[FieldConflict] = []
    for one in rejection.conflicts:
        by_setting = one.path == _PATH and _by_setting(one, write.live, write.body or {})
        found += by_setting or [one]
    return replace(preview, rejection=replace(rejection, conflicts=tuple(found)))


def _by_setting(
    conflict: FieldConflict, live: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[FieldConflict]:
    """[] if the texts do not differ in a setting, or cannot be read."""
    return list(_conflicts(conflict.manager, load_settings(live), load_settings(wanted)))


def _conflicts(
    manager: str, current: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[FieldConflict]:
    if not current:
        return
    for name in dict.fromkeys((*wanted, *current)):
        if current.get(name) != wanted.get(name):
            shown = _shown(str(name)) or "a setting without a name"
            label = LIMITS[name].label if name in LIMITS else shown
            texts = (_text(name, one.get(name)) for one in (current, wanted))
            yield FieldConflict(label, manager, *texts)


def _text(name: str, value: Any) -> str:
    """`name` may be of another type, as YAML has them."""
    if value is None:
        return "none"
    if name in LIMITS and (number := LIMITS[name].read(value)) is not None:
        return LIMITS[name].format(number)
    shown = str(mask_at((str(name),), value))
    return MASK if "@" in shown else _shown(shown)


def _shown(text: str) -> str:
    return one_line(sanitize(text))[:_MAX_LENGTH].rstrip()
