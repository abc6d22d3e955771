"""The names of the series that an expression is about."""

from __future__ import annotations

from collections.abc import Iterator

from servedeck.promql.expressions import Aggregation, Binary, Call, Expression, Selector


def selector_names(expression: Expression) -> Iterator[str]:
    """In their order, repeated where the expression repeats them."""
    match expression:
        case Selector(name):
            yield name
        case Call(_, arguments):
            for one in arguments:
                yield from selector_names(one)
        case Aggregation(_, inner):
            yield from selector_names(inner)
        case Binary(_, left, right):
            yield from selector_names(left)
            yield from selector_names(right)
