"""The YAML of a live object, as it is shown and as it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from servedeck.serving.objects.secret_values import mask_secret_values
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_time, mappings
from servedeck.serving.text import format_count
from servedeck.serving.yaml_text import (
    FOLDED_PATHS,
    LAST_APPLIED,
    Token,
    YamlText,
    object_lines,
    object_text,
)

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject


class TextOptions(NamedTuple):
    """What of an object is shown, copied and saved."""

    reveals_secrets: bool = False
    """Whether values that look secret are shown; else they are masked."""
    unfolds: bool = False
    """Whether the managed fields and the annotation of `kubectl apply` are shown; else they are
    folded on screen, and not in the copy."""


@dataclass(frozen=True, slots=True)
class ObjectText:
    """A live object as it is shown."""

    live: LiveObject
    options: TextOptions
    text: YamlText
    masked_count: int
    """Number of values that are masked, or would be."""
    folded_count: int
    """Number of fields that are folded."""
    changed_at: datetime | None
    """When it was changed last, by its own account."""


class SavedText(NamedTuple):
    """The YAML of an object for a file."""

    text: str
    line_count: int
    masked_count: int
    omits_managed_fields: bool


def build_object_text(live: LiveObject, options: TextOptions, unfold_hint: str) -> ObjectText:
    """The lines of an object. `unfold_hint` follows the number of folded lines.

    Takes a second for 100,000 lines. Raises RecursionError if the object is nested hundreds of
    levels deep.
    """
    value = live.parse_unsanitized()
    # A folded annotation is not shown, so nothing in it is masked.
    hidden = "" if options.unfolds else LAST_APPLIED
    masked, masked_count = mask_secret_values(value, except_annotation=hidden)
    folded = {} if options.unfolds else dict.fromkeys(FOLDED_PATHS, unfold_hint)
    lines = object_lines(value if options.reveals_secrets else masked, folded=folded)
    return ObjectText(
        live,
        options,
        YamlText(lines),
        masked_count,
        sum(line.token is Token.COMMENT for line in lines),
        last_change_time(value),
    )


def build_saved_text(live: LiveObject, options: TextOptions) -> SavedText:
    """The YAML of an object for a file or the clipboard: `kubectl apply` of it gives the same
    object, unless values are masked, which a comment in the first line says.

    Raises RecursionError like `build_object_text`.
    """
    value = live.parse_unsanitized()
    shown = value if options.unfolds else without_folded_fields(value)
    omits_managed_fields = shown is not value
    masked_count = 0
    if not options.reveals_secrets:
        shown, masked_count = mask_secret_values(shown)
    text = object_text(shown)
    if masked_count:
        text = f"# {format_masked(masked_count)} here: do not apply this file.\n{text}"
    return SavedText(text, text.count("\n"), masked_count, omits_managed_fields)


def format_masked(count: int) -> str:
    """How many values are masked: "2 values are masked"."""
    return f"{format_count(count, 'value')} {'is' if count == 1 else 'are'} masked"


def without_folded_fields(value: JsonObject) -> JsonObject:
    """The object without what is folded; the same instance if it has none of it."""
    metadata = as_mapping(value, "metadata")
    annotations = as_mapping(metadata, "annotations")
    if "managedFields" not in metadata and LAST_APPLIED not in annotations:
        return value
    kept = {key: one for key, one in metadata.items() if key != "managedFields"}
    if LAST_APPLIED in annotations:
        others = {key: one for key, one in annotations.items() if key != LAST_APPLIED}
        if others:
            kept["annotations"] = others
        else:
            del kept["annotations"]
    return {**value, "metadata": kept}


def last_change_time(value: Mapping[str, object]) -> datetime | None:
    """When an object was changed last, by its managed fields and its creation; None if unknown."""
    metadata = as_mapping(value, "metadata")
    texts = [
        metadata.get("creationTimestamp"),
        *(one.get("time") for one in mappings(metadata.get("managedFields"))),
    ]
    return max(filter(None, map(as_time, texts)), default=None)
