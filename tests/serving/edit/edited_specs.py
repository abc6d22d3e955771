"""Random edits of random servings: some fields of another one, and entries of lists."""

from __future__ import annotations

from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError

from servedeck.serving.spec.spec import FIELDS, ServingSpec
from tests.serving.strategies import specs

_VARIABLES = [{"name": name, "value": value} for name in "ABCD" for value in ("1", "2")]
_VOLUMES = [
    {"pvc": pvc, "mount_path": path} for pvc in ("x", "y") for path in ("/a", "/b", "/c", "/d")
]
_ARGUMENTS = [
    ("--enforce-eager",),
    ("--max-num-seqs", "8"),
    ("--max-num-seqs=16",),
    ("--seed", "-1"),
    ("--seed", "-2"),
    ("--api-key", "sk-0123456789abcdefghij"),
    ("-O3",),
    ("--", "--seed"),
    ("positional",),
]


def _unique(values: list[dict[str, str]], key: str) -> st.SearchStrategy[list[dict[str, str]]]:
    return st.lists(st.sampled_from(values), max_size=4, unique_by=lambda one: one[key])


arguments = st.lists(st.sampled_from(_ARGUMENTS), max_size=4, unique=True).map(
    lambda groups: tuple(word for group in groups for word in group)
)
lists = st.fixed_dictionaries(
    {},
    optional={
        "env": _unique(_VARIABLES, "name"),
        "volumes": _unique(_VOLUMES, "mount_path"),
        "command": arguments,
    },
)


@st.composite
def edits(draw: st.DrawFn, base: ServingSpec) -> ServingSpec:
    """An edit of `base`: a few of its fields as in another serving, and other lists."""
    other = draw(specs())
    names = draw(st.sets(st.sampled_from(sorted(set(FIELDS) - {"name", "namespace"})), max_size=3))
    changes: dict[str, Any] = {name: getattr(other, name) for name in names}
    if "template" in names:
        changes["settings"] = other.settings
    elif "settings" in names and other.template != base.template:
        del changes["settings"]
    changes |= draw(lists)
    if draw(st.booleans()) and base.template == "vllm" and "template" not in names:
        changes["settings"] = {**base.settings, "additional_arguments": draw(arguments)}
    try:
        return base.replace(**changes)
    except ValidationError:  # the fields of one serving may not suit another
        reject()


@st.composite
def edited_specs(draw: st.DrawFn, sides: int = 2) -> tuple[ServingSpec, ...]:
    """A serving and edits of it, whose lists have entries in common."""
    base = draw(specs())
    base = base.replace(**draw(lists))
    return (base, *(draw(edits(base)) for _ in range(sides)))
