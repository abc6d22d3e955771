"""Expressions of the figures of many servings at once, so that a list of them is one query.

The Pods of a Deployment have its name with a hash and a suffix, so that `label_replace` tells the
serving of a series; the Pods of names that are too long for that are selected one serving at a
time. Sources are those of `queries`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Literal, NamedTuple

from servedeck.metrics.families import Metric, MetricName, MetricNames, server_names
from servedeck.metrics.queries import (
    ENVOY,
    ISTIO,
    POD_SUFFIX,
    TEMPLATE_HASH,
    names_pods,
    pod_matchers,
    scaled,
)
from servedeck.metrics.target import MetricsTarget
from servedeck.promql.expressions import (
    Binary,
    Call,
    Expression,
    Matcher,
    Selector,
    escape_regex,
    escape_replacement,
    label_replace,
    quantile,
    total,
)
from servedeck.serving.objects.detection import CUSTOM_TEMPLATE

NAMESPACE, SERVING, FIGURE = "namespace", "serving", "figure"
"""The labels of a series of a result."""


class Figure(StrEnum):
    """The value of FIGURE."""

    RATE = "rate"
    """Finished requests per second."""
    P95 = "p95"
    """95 % of the requests took less, in seconds."""
    WAITING = "waiting"
    """Requests that wait to be started."""


class Rate(NamedTuple):
    """How rates are computed."""

    window: float
    """Seconds."""
    function: Literal["rate", "irate"] = "rate"
    """`irate` is the rate between the last two samples: right even if there are no others."""

    def of(self, name: str, matchers: tuple[Matcher, ...]) -> Expression:
        return Call(self.function, (Selector(name, matchers, self.window),))


def figures_expression(targets: Sequence[MetricsTarget], rate: Rate) -> Expression | None:
    """All figures of the servings at one time; None if nothing is known that could be asked for.
    What is found may include other servings of the same namespaces."""
    found = {
        Figure.RATE: rates_expression(targets, rate),
        Figure.P95: _join(_alternatives(Metric.LATENCY, targets, _quantile_builder(rate))),
        Figure.WAITING: _join(_alternatives(Metric.WAITING, targets, _build_sum)),
    }
    return _join(
        label_replace(expression, FIGURE, figure.value)
        for figure, expression in found.items()
        if expression is not None
    )


def rates_expression(targets: Sequence[MetricsTarget], rate: Rate) -> Expression | None:
    """The finished requests per second of each serving."""
    return _join(_alternatives(Metric.REQUESTS, targets, _rate_builder(rate)))


class _Origin(NamedTuple):
    """Where series of servings are from, and how they say whose they are."""

    matchers: tuple[Matcher, ...]
    labels: tuple[str, ...]
    """What tells the serving."""
    add_serving: Callable[[Expression], Expression]
    """Sets NAMESPACE and SERVING."""

    def sum(
        self, names: Iterable[MetricName], read: Callable[[MetricName], Expression], *by: str
    ) -> Expression:
        """The series of a metric summed for each serving, and of the labels `by`. Of a Pod that has
        several names, the first counts."""
        inner = _join(total(read(one), *self.labels, *by) for one in names)
        assert inner is not None, "a metric has a name"
        return total(self.add_serving(inner), NAMESPACE, SERVING, *by)


_Builder = Callable[[tuple[MetricName, ...], _Origin], Expression]


def _rate_builder(rate: Rate) -> _Builder:
    def build(names: tuple[MetricName, ...], origin: _Origin) -> Expression:
        return origin.sum(names, lambda one: rate.of(one.name, origin.matchers))

    return build


def _quantile_builder(rate: Rate) -> _Builder:
    """Of all Pods of a serving: the mean of their quantiles would be none."""

    def build(names: tuple[MetricName, ...], origin: _Origin) -> Expression:
        buckets = origin.sum(
            names, lambda one: rate.of(f"{one.name}_bucket", origin.matchers), "le"
        )
        return scaled(quantile(0.95, buckets), names[0].factor)

    return build


def _build_sum(names: tuple[MetricName, ...], origin: _Origin) -> Expression:
    return origin.sum(names, lambda one: scaled(Selector(one.name, origin.matchers), one.factor))


def _alternatives(
    metric: Metric, targets: Sequence[MetricsTarget], build: _Builder
) -> Iterator[Expression]:
    """Where a metric of each serving may be, what comes first counts, as in
    `queries.metric_series`."""
    proxied = [one for one in targets if not one.own_names.get(metric)]
    custom = [one for one in proxied if one.template == CUSTOM_TEMPLATE]
    yield from _proxy_alternatives(metric, custom, build)
    for group in _groups(targets):
        own = group.own_names.get(metric)
        for names in (own,) if own else server_names(metric, group.template):
            for origin in group.origins:
                yield build(names, origin)
    others = [one for one in proxied if one.template != CUSTOM_TEMPLATE]
    yield from _proxy_alternatives(metric, others, build)


def _join(expressions: Iterable[Expression]) -> Expression | None:
    """The first of the expressions that has a value, for each set of labels. The halves are joined
    before, so that hundreds are not nested hundreds deep."""
    found = list(expressions)
    if len(found) < 2:
        return found[0] if found else None
    middle = (len(found) + 1) // 2 if len(found) > _MAX_CHAIN else len(found) - 1
    left, right = _join(found[:middle]), _join(found[middle:])
    assert left is not None and right is not None
    return Binary("or", left, right)


_MAX_CHAIN = 16


# -- Pods -------------------------------------------------------------------------------------


class _Group(NamedTuple):
    """Servings whose Pods have metrics of the same names."""

    template: str
    own_names: MetricNames
    origins: tuple[_Origin, ...]


_POD_NAME = f"(.+)-{TEMPLATE_HASH}-{POD_SUFFIX}"


def _groups(targets: Iterable[MetricsTarget]) -> Iterator[_Group]:
    found: dict[object, list[MetricsTarget]] = {}
    for one in targets:
        found.setdefault((one.template, tuple(sorted(one.own_names.items()))), []).append(one)
    for members in found.values():
        first = members[0]
        yield _Group(first.template, first.own_names, tuple(_pod_origins(members)))


def _pod_origins(targets: Sequence[MetricsTarget]) -> Iterator[_Origin]:
    named = [one for one in targets if names_pods(one)]
    if named:
        names = _any_of(one.name for one in named)
        pods = Matcher("pod", "=~", f"{names}-{TEMPLATE_HASH}-{POD_SUFFIX}")
        yield _Origin(
            (_namespaces("namespace", named), pods),
            ("namespace", "pod"),
            lambda inner: label_replace(inner, SERVING, "$1", "pod", _POD_NAME),
        )
    for one in targets:
        if not names_pods(one) and one.pods:
            yield _Origin(pod_matchers(one), ("namespace", "pod"), _constant_name(one.name))


def _constant_name(name: str) -> Callable[[Expression], Expression]:
    return lambda inner: label_replace(inner, SERVING, escape_replacement(name))


def _namespaces(label: str, targets: Iterable[MetricsTarget]) -> Matcher:
    return Matcher(label, "=~", "|".join(_escaped(one.namespace for one in targets)))


def _any_of(texts: Iterable[str]) -> str:
    """A regular expression of the texts, in parentheses where they are several."""
    found = _escaped(texts)
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _escaped(texts: Iterable[str]) -> list[str]:
    return [_escape(one) for one in sorted(set(texts))]


_escape = lru_cache(maxsize=1 << 11)(escape_regex)


# -- proxies ----------------------------------------------------------------------------------


class _IstioLabels(NamedTuple):
    reporter: str
    namespace: str
    name: str


_ISTIO_LABELS = (
    _IstioLabels("destination", "destination_workload_namespace", "destination_workload"),
    _IstioLabels("source", "destination_service_namespace", "destination_service_name"),
)
_ROUTE = r"httproute/([^/]{1,63})/([^/]{1,253})/rule/\d{1,3}"


def _proxy_alternatives(
    metric: Metric, targets: Sequence[MetricsTarget], build: _Builder
) -> Iterator[Expression]:
    """What proxies count, in the order of `queries`."""
    sources: list[tuple[Mapping[Metric, MetricName], _Origin]] = [
        *((ISTIO, _istio_origin(labels, targets)) for labels in _ISTIO_LABELS),
        (ENVOY, _envoy_origin(targets)),
    ]
    for names, origin in sources:
        if targets and metric in names:
            yield build((names[metric],), origin)


def _istio_origin(labels: _IstioLabels, targets: Sequence[MetricsTarget]) -> _Origin:
    matchers = (
        Matcher("reporter", "=", labels.reporter),
        Matcher(labels.name, "=~", "|".join(_escaped(one.name for one in targets))),
        _namespaces(labels.namespace, targets),
    )

    def add_serving(inner: Expression) -> Expression:
        named = label_replace(inner, SERVING, "$1", labels.name, "(.+)")
        return label_replace(named, NAMESPACE, "$1", labels.namespace, "(.+)")

    return _Origin(matchers, (labels.namespace, labels.name), add_serving)


def _envoy_origin(targets: Sequence[MetricsTarget]) -> _Origin:
    namespaces = _any_of(one.namespace for one in targets) if targets else ""
    names = _any_of(one.name for one in targets) if targets else ""
    route = Matcher("envoy_cluster_name", "=~", rf"httproute/{namespaces}/{names}/rule/\d+")

    def add_serving(inner: Expression) -> Expression:
        named = label_replace(inner, SERVING, "$2", route.label, _ROUTE)
        return label_replace(named, NAMESPACE, "$1", route.label, _ROUTE)

    return _Origin((route,), (route.label,), add_serving)
