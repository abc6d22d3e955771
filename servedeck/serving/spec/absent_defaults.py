"""Fields of an existing serving that are asked to be the default where its objects have nothing.

What is absent and the default are the same value of the field. A field that was read of the objects
is in `model_fields_set` of their spec, and one that was given in that of the wanted spec.
"""

from __future__ import annotations

from servedeck.serving.spec.spec import ServingSpec

_EFFECTIVE = {
    "shared_memory": "shared_memory_limit",
    "model_cache_path": "effective_model_cache_path",
}
"""The property with the value that counts, by field."""


def find_asked_defaults(before: ServingSpec, wanted: ServingSpec) -> dict[str, str]:
    """The defaults, as text by field, that were given and that the objects of `before` do not
    have."""
    return {
        name: str(getattr(wanted, effective))
        for name, effective in _EFFECTIVE.items()
        if name in wanted.model_fields_set
        and name not in before.model_fields_set
        and getattr(before, name) == getattr(wanted, name)
    }


def keep_asked_defaults(
    before: ServingSpec, wanted: ServingSpec, merged: ServingSpec
) -> ServingSpec:
    """The merged spec with those fields given that `find_asked_defaults` finds."""
    same = {
        name: value
        for name in find_asked_defaults(before, wanted)
        if (value := getattr(wanted, name)) == getattr(merged, name)
    }
    return merged.replace(**same) if same else merged
