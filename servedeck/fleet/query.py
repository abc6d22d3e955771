"""Which servings are shown and in which order: the filter's grammar, sorting, counts by status.

A filter is a list of terms separated by spaces; a serving is shown if every term matches.

    llama              the text occurs in what is shown of it (case does not matter): namespace,
                       name, status, reason, rollout, template, model, accelerator, image,
                       endpoint, and name, status, reason and node of its Pods
    !llama             it does not
    "max length"       a text with spaces or a colon
    status:error,pend  the status is one of these; a prefix is enough
    reason:crashloop   the text occurs in its reason, or in status or reason of one of its Pods
    ns:team            the text occurs in one field: ns, name, status, reason, template, model,
                       accelerator, image, endpoint, node, pod, kind
    ns:=team-a         the field is exactly this
    !ns:team           it is not
    -l app=x,tier!=y   labels, in kubectl's grammar: k=v, k==v, k!=v, k, !k, k in (a, b),
                       k notin (a, b), k>1, k<1
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from servedeck.fleet.views import ServingView
from servedeck.serving.label_selector import LabelSelectorError, parse_label_selector_prefix
from servedeck.serving.query_terms import WORD_PATTERN, QueryError, parse_term, split_first_word
from servedeck.serving.status.status import Status

__all__ = ["QueryError"]  # what `parse_query` raises

ViewPredicate = Callable[[ServingView], bool]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed filter."""

    text: str
    predicates: tuple[ViewPredicate, ...]

    def matches(self, view: ServingView) -> bool:
        """Whether every term matches the serving."""
        return all(test(view) for test in self.predicates)

    def filter(self, views: Iterable[ServingView]) -> list[ServingView]:
        """The servings that every term matches, in their original order."""
        return [view for view in views if self.matches(view)] if self.predicates else list(views)


def parse_query(text: str) -> Query:
    """Parse a filter. An empty text matches everything.

    Raises QueryError.
    """
    tests: list[ViewPredicate] = []
    rest = text.strip()
    while rest:
        if selector := re.match(r"-l(?:\s+|$)", rest):
            test, rest = _parse_requirements(rest[selector.end() :])
        else:
            word, rest = split_first_word(rest)
            test = parse_term(word, FIELDS, _search_text, _SPECIAL_FIELDS, _ALIASES)
        tests.append(test)
        rest = rest.lstrip()
    return Query(text, tuple(tests))


def toggle_status(text: str, status: Status | None) -> str:
    """The filter `text` limited to one status, which replaces any other; without that limit if it
    already had it, or for None."""
    words = WORD_PATTERN.findall(text) if text.count('"') % 2 == 0 else text.split()
    others = [word for word in words if not word.casefold().startswith("status:")]
    if status is None:
        return " ".join(others)
    term = f"status:{_status_slug(status)}"
    return " ".join(others if term in words else [term, *others])


def parse_selector_query(text: str) -> Query:
    """Parse a label selector in kubectl's grammar. Raises QueryError."""
    test, rest = _parse_requirements(text.strip())
    if rest.strip():
        raise QueryError(
            f"Unexpected {rest.strip()!r} after a requirement of the label selector {text!r};"
            " separate requirements with commas."
        )
    return Query(text, (test,))


# -- terms ------------------------------------------------------------------------------------


def _status_texts(view: ServingView) -> Iterable[str]:
    return (view.status.value,)


FIELDS: Mapping[str, Callable[[ServingView], Iterable[str]]] = {
    "ns": lambda view: (view.key.namespace,),
    "name": lambda view: (view.key.name,),
    "status": _status_texts,
    "reason": lambda view: (
        view.reason,
        *(text for pod in view.pods for text in (pod.reason, pod.status)),
    ),
    "template": lambda view: (view.template,),
    "model": lambda view: (view.model,),
    "accelerator": lambda view: (view.accelerator, view.accelerator_resource),
    "image": lambda view: (view.image,),
    "endpoint": lambda view: (view.endpoint.url, view.endpoint.cluster_url),
    "node": lambda view: (pod.node for pod in view.pods),
    "pod": lambda view: (pod.name for pod in view.pods),
    "kind": lambda view: (view.kind,),
}
"""Fields that a term can use, with the texts that each searches."""

_ALIASES = {"namespace": "ns", "project": "ns"}


def _search_text(view: ServingView) -> str:
    return view.search_text


def _status_predicate(values: str) -> ViewPredicate:
    wanted: set[Status] = set()
    for value in values.removeprefix("=").split(","):
        begin = value.replace("-", "").replace("_", "").replace(" ", "")
        found = [s for s in Status if s.value.casefold().replace(" ", "").startswith(begin)]
        if not found:
            names = ", ".join(map(_status_slug, Status))
            raise QueryError(
                f"No status begins with {value!r}; the statuses are {names}."
                f" To search the status of a Pod, type reason:{value}."
            )
        wanted.update(found if value else ())
    return lambda view: view.status in wanted


def _status_slug(status: Status) -> str:
    """The status as one word of a filter."""
    return status.value.casefold().replace(" ", "-")


_SPECIAL_FIELDS: Mapping[str, Callable[[str], ViewPredicate]] = {"status": _status_predicate}


# -- label selectors --------------------------------------------------------------------------


def _parse_requirements(text: str) -> tuple[ViewPredicate, str]:
    """The predicate of the selector at the start of `text`, and the rest."""
    try:
        selector, rest = parse_label_selector_prefix(text)
    except LabelSelectorError as error:
        at_fault = text[error.position :]
        place = f" at {at_fault!r}" if error.position and at_fault else ""
        raise QueryError(_not_a_selector(text, place)) from None
    if rest[:1].strip():
        raise QueryError(_not_a_selector(text, f" at {rest!r}"))
    return (lambda view: selector.matches(view.labels)), rest


def _not_a_selector(text: str, place: str) -> str:
    return (
        f"{text or '-l'!r} is not a valid label selector{place};"
        " use key=value, key!=value, key, !key or key in (a, b)."
    )


# -- order and counts -------------------------------------------------------------------------

_STATUS_ORDER = {status: rank for rank, status in enumerate(Status)}


def _name_sort_key(view: ServingView) -> tuple[str, str]:
    return view.key.name, view.key.namespace


def _accelerator_sort_key(view: ServingView) -> tuple[str, int]:
    return view.accelerator.casefold(), view.accelerator_count


_COLUMN_SORT_KEYS: Mapping[str, Callable[[ServingView], Any]] = {
    "status": lambda view: (_STATUS_ORDER[view.status], view.reason),
    "name": _name_sort_key,
    "namespace": lambda view: view.key,
    "kind": lambda view: view.kind,
    "ready": lambda view: (view.ready / view.desired if view.desired else 2.0, view.desired),
    "template": lambda view: view.template.casefold(),
    "model": lambda view: view.model.casefold(),
    "accelerator": _accelerator_sort_key,
    "restarts": lambda view: view.restarts,
    "endpoint": lambda view: view.endpoint.url,
    "image": lambda view: view.image,
    "autoscaler": lambda view: view.autoscaler,
    "age": lambda view: _age_sort_key(view.created),
}

SORT_COLUMNS: tuple[str, ...] = tuple(_COLUMN_SORT_KEYS)
"""Columns that `sort_views` supports."""


def _age_sort_key(created: datetime | None) -> float:
    """Newest first; a serving without a creation timestamp is last."""
    return -created.timestamp() if created is not None else float("inf")


def sort_views(
    views: Iterable[ServingView], column: str = "", reverse: bool = False
) -> list[ServingView]:
    """`views` sorted by a column, then by namespace and name.

    Without a column: failing first, in the order of Status. Raises KeyError for a column that is
    not in SORT_COLUMNS.
    """
    ordered = sorted(views, key=lambda view: view.key)
    ordered.sort(key=_sort_key(column), reverse=reverse)
    return ordered


def sort_views_by_value(
    views: Iterable[ServingView],
    find_value: Callable[[ServingView], float | None],
    reverse: bool = False,
) -> list[ServingView]:
    """`views` sorted by a value, then by namespace and name; those without one are last in either
    direction."""
    known: list[tuple[float, ServingView]] = []
    unknown: list[ServingView] = []
    for view in sorted(views, key=lambda view: view.key):
        value = find_value(view)
        if value is None:
            unknown.append(view)
        else:
            known.append((value, view))
    known.sort(key=lambda pair: pair[0], reverse=reverse)
    return [*(view for _value, view in known), *unknown]


def keeps_sort_position(previous: ServingView, current: ServingView, column: str = "") -> bool:
    """Whether `sort_views` gives the current view of a serving the position of the previous one."""
    rank = _sort_key(column)
    return previous.key == current.key and rank(previous) == rank(current)


def _sort_key(column: str) -> Callable[[ServingView], Any]:
    return _COLUMN_SORT_KEYS[column] if column else lambda view: _STATUS_ORDER[view.status]


def find_servings(
    views: Iterable[ServingView], name: str, namespace: str = "", kind: str = ""
) -> list[ServingView]:
    """The servings of a name; `namespace` "" is any. `kind` is the kind of the workload in any
    case, "" for a Deployment, or any if there is none."""
    found = [
        view
        for view in views
        if view.key.name == name
        and namespace in ("", view.key.namespace)
        and kind.lower() in ("", view.kind.lower())
    ]
    return found if kind else [view for view in found if view.key.is_deployment] or found


def describe_ambiguous_name(found: Sequence[ServingView]) -> str:
    """What to do where a name has several servings, in one sentence."""
    name = found[0].key.name
    namespaces = sorted({view.key.namespace for view in found})
    if len(namespaces) > 1:
        return (
            f"Several namespaces have a serving {name}: {', '.join(namespaces)}; name one with -n."
        )
    kinds = ", ".join(sorted(view.kind for view in found))
    return f"Several kinds have a serving {name}: {kinds}; name one with --kind."


def count_by_status(views: Sequence[ServingView]) -> dict[Status, int]:
    """Number of servings in each status, including zeros, in the order of Status."""
    counted = dict.fromkeys(Status, 0)
    for view in views:
        counted[view.status] += 1
    return counted
