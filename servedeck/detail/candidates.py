"""Which objects of a namespace may be those of a serving, found without parsing all of them:
thousands of them would hold the event loop up for tens of milliseconds, and stay in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from servedeck.serving.spec.mapping.json_values import as_mapping

if TYPE_CHECKING:
    from servedeck.detail.object_watch import LiveObject


class _Spec(msgspec.Struct):
    selector: dict[str, Any] | None = None


class _SelectingObject(msgspec.Struct):
    spec: _Spec | None = None


_decode_selector = msgspec.json.Decoder(_SelectingObject).decode


class Candidates:
    """Those of the objects of one kind that may be the serving's. An object is looked at once as
    long as it does not change and the same is sought."""

    def __init__(self) -> None:
        self._sought: object = None
        self._known: dict[LiveObject, bool] = {}

    def find(
        self,
        objects: Iterable[LiveObject],
        sought: object,
        is_candidate: Callable[[LiveObject], bool],
    ) -> tuple[LiveObject, ...]:
        """Those for which `is_candidate` is true, in their order. Its answer depends on the object
        and on `sought`, which is compared by ==."""
        before, self._known = (self._known if sought == self._sought else {}), {}
        self._sought = sought
        for one in objects:
            known = before.get(one)
            self._known[one] = is_candidate(one) if known is None else known
        return tuple(one for one, is_one in self._known.items() if is_one)


def may_name(obj: LiveObject, names: Collection[str]) -> bool:
    """Whether a string in the object may be one of the names of objects, or begin with one and a
    dot, as the host of a Service does. There are no false negatives: the API server writes the
    letters, digits, "-" and "." of a name as they are (Go, encoding/json, appendString)."""
    text = obj.json_text
    return any(
        name in text and (f'"{name}"' in text or f'"{name}.' in text)  # the first is the quickest
        for name in names
    )


def read_selector(service: LiveObject) -> Mapping[str, Any]:
    """`spec.selector` of a Service or an InferencePool, {} without one. Its keys and values are as
    the API server sent them, which allows only ASCII in them."""
    try:
        spec = _decode_selector(service.json_text).spec
    except (msgspec.DecodeError, ValueError, RecursionError):
        return as_mapping(service.value, "spec", "selector")  # its fields have other types
    return (spec.selector if spec is not None else None) or {}
