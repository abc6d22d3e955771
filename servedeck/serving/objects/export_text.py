"""The file of an exported serving: its document, and as comments what the document lacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from servedeck.serving.objects.import_objects import ImportedServing
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.document import dump_yaml, to_yaml
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.text import format_count, one_line, sanitize


def export_text(serving: ImportedServing, spec: ServingSpec | None = None) -> str:
    """The document of a serving, of `spec` if its values are not to be shown. Fields of its objects
    that a new serving would lack, or have with another value, follow as comments, with their
    values; those that look secret are masked."""
    text = to_yaml(spec or serving.spec)
    fields = serving.unmanaged_fields
    if not fields:
        return text
    lacking = [one for one in fields if one.built is None]
    different = [one for one in fields if one.built is not None]
    count = format_count(len(fields), "field")
    title = f"Not in this file: {count} of the objects in the cluster; see the comments at its end."
    comments = ["Applying this file to the serving does not change the following fields."]
    if lacking:
        comments += ["", "A new serving made from this file does not have them:"]
        comments += _list(lacking)
    if different:
        comments += ["", "A new serving made from this file has other values for them:"]
        comments += _list(different)
    return f"{_comment([title])}{text}\n{_comment(comments)}"


def _comment(lines: Sequence[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _list(fields: Sequence[UnmanagedField]) -> Iterator[str]:
    """Lines without control characters: a name or a value must not end its comment."""
    title = None
    for one in fields:
        if one.object != title:
            title = one.object
            yield f"{one_line(sanitize(title))}:"
        yield from _field_lines(one)


def _field_lines(field: UnmanagedField) -> Iterator[str]:
    value = field.masked_value
    *lines, _end = dump_yaml(value).removesuffix("...\n").split("\n")
    if not field.path:
        yield from (f"  {line}" for line in lines)
        return
    path = one_line(sanitize(field.path))
    if isinstance(value, (dict, list)) and value:
        yield f"  {path}:"
        yield from (f"    {line}" for line in lines)
    else:
        yield f"  {path}: {lines[0]}"
        yield from (f"    {line}" for line in lines[1:])
    if field.built is not None:
        built = json.dumps(field.masked_built, ensure_ascii=False)
        yield f"    in a new serving: {one_line(sanitize(built))}"
