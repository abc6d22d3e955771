"""PromQL as expressions.

Source: https://prometheus.io/docs/prometheus/latest/querying/basics/; the grammar is that of
promql/parser/generated_parser.y of Prometheus, less what the subset does not have.
"""

from __future__ import annotations

import re
from typing import cast

from servedeck.promql.errors import PromqlError
from servedeck.promql.expressions import (
    PRECEDENCE,
    Aggregation,
    AggregationOperator,
    Binary,
    BinaryOperator,
    Call,
    Expression,
    Matcher,
    MatchOperator,
    Number,
    Selector,
    Text,
)
from servedeck.promql.functions import AGGREGATIONS, FUNCTIONS, MAX_DEPTH, ValueType, check_type
from servedeck.promql.lexer import Token, parse_duration, parse_number, split_tokens, unquote
from servedeck.promql.matching import compile_matchers

MAX_LENGTH = 1 << 18
"""Characters of an expression: the names of 2,000 Pods."""

_OTHER_AGGREGATIONS = frozenset(
    [
        "bottomk",
        "count_values",
        "group",
        "limit_ratio",
        "limitk",
        "quantile",
        "stddev",
        "stdvar",
        "topk",
    ]
)
_OTHER_OPERATORS = frozenset(("%", "^", "atan2"))
_MATCHING = frozenset(("bool", "group_left", "group_right", "ignoring", "on"))
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def parse_expression(text: str) -> Expression:
    """The expression of a text. Raises PromqlError with the place if it is none of the subset."""
    if len(text) > MAX_LENGTH:
        raise PromqlError(f"The expression is longer than {MAX_LENGTH:,} characters.")
    parser = _Parser(split_tokens(text))
    expression = parser.parse_operation(1)
    token = parser.peek()
    if token.kind != "end":
        raise parser.unexpected(token)
    check_type(expression)
    return expression


class _Parser:
    """Reads tokens from the left, by precedence climbing."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self) -> Token:
        return self._tokens[self._at]

    def unexpected(self, token: Token, needed: str = "") -> PromqlError:
        what = "The end" if token.kind == "end" else _shorten(token.text)
        after = f"; {needed} is needed" if needed else ""
        return PromqlError(f"{what} is not expected at character {token.position + 1}{after}.")

    def unsupported(self, what: str, token: Token) -> PromqlError:
        return PromqlError(f"{what} is not supported (character {token.position + 1}).")

    def parse_operation(self, lowest: int) -> Expression:
        """Operands and operators that bind at least as tight as `lowest`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise PromqlError(f"The expression is nested more than {MAX_DEPTH} deep.")
        left = self._parse_unary()
        while (precedence := PRECEDENCE.get(self._operator(), 0)) >= lowest:
            operator = cast(BinaryOperator, self._operator())
            self._at += 1
            token = self.peek()
            if token.kind == "name" and token.text.lower() in _MATCHING:
                raise self.unsupported(token.text.lower(), token)
            left = Binary(operator, left, self.parse_operation(precedence + 1))
        self._depth -= 1
        return left

    def _operator(self) -> str:
        """The operator that is next, in lower case; "" for none."""
        token = self.peek()
        name = token.text.lower() if token.kind in ("name", "symbol") else ""
        if name in _OTHER_OPERATORS:
            raise self.unsupported(f"The operator {name}", token)
        return name if name in PRECEDENCE else ""

    def _parse_unary(self) -> Expression:
        """An operand with its signs, which bind tighter than all operators."""
        is_negative, has_sign = False, False
        while self.peek().text in ("+", "-"):
            is_negative ^= self._take().text == "-"
            has_sign = True
        token = self.peek()
        operand = self._parse_operand()
        if has_sign and check_type(operand) is ValueType.RANGE:
            raise self.unexpected(token, "a vector or a number")
        if not is_negative:
            return operand
        if isinstance(operand, Number):
            return Number(-operand.value)
        return Binary("*", Number(-1.0), operand)

    def _parse_operand(self) -> Expression:
        token = self._take()
        match token.kind, token.text:
            case "number", text:
                return Number(parse_number(text))
            case "name", text if text.lower() in ("inf", "nan"):
                return Number(float(text))
            case "name", text:
                return self._parse_named(token, text)
            case "symbol", "(":
                inner = self.parse_operation(1)
                self._expect(")")
                return self._refuse_subquery(inner)
            case "symbol", "{":
                self._at -= 1
                return self._parse_selector("", token)
            case "string", _:
                raise self.unsupported("A string as a value", token)
        raise self.unexpected(token, "a metric, a function or a number")

    def _parse_named(self, token: Token, name: str) -> Expression:
        """What begins with a name: an aggregation, a function or a selector."""
        lower, following = name.lower(), self.peek().text
        if lower in AGGREGATIONS or lower in _OTHER_AGGREGATIONS:
            if following == "(" or following.lower() in ("by", "without"):
                if lower in _OTHER_AGGREGATIONS:
                    raise self.unsupported(f"The aggregation {lower}", token)
                return self._refuse_subquery(self._parse_aggregation(lower))
        elif following == "(":
            if name not in FUNCTIONS:
                raise self.unsupported(f"The function {name}", token)
            call = Call(name, self._parse_arguments())
            check_type(call)
            return self._refuse_subquery(call)
        return self._parse_selector(name, token)

    def _parse_aggregation(self, operator: str) -> Expression:
        by = self._parse_grouping()
        arguments = self._parse_arguments()
        if len(arguments) != 1:
            raise PromqlError(f"{operator} needs 1 argument, not {len(arguments)}.")
        if by is None:
            by = self._parse_grouping()
        return Aggregation(cast(AggregationOperator, operator), arguments[0], by or ())

    def _parse_grouping(self) -> tuple[str, ...] | None:
        """The labels after "by"; None without it."""
        token = self.peek()
        if token.kind == "name" and token.text.lower() == "without":
            raise self.unsupported("without", token)
        if token.kind != "name" or token.text.lower() != "by":
            return None
        self._at += 1
        self._expect("(")
        labels: list[str] = []
        while self.peek().text != ")":
            labels.append(self._take_label())
            if self.peek().text != ",":
                break
            self._at += 1
        self._expect(")")
        return tuple(labels)

    def _parse_arguments(self) -> tuple[Expression, ...]:
        self._expect("(")
        found: list[Expression] = []
        while self.peek().text != ")":
            found.append(self._parse_argument())
            if self.peek().text != ",":
                break
            self._at += 1
            if (token := self.peek()).text == ")":
                raise self.unexpected(token, "an argument")
        self._expect(")")
        return tuple(found)

    def _parse_argument(self) -> Expression:
        """A string is nothing but an argument."""
        if self.peek().kind == "string":
            return Text(unquote(self._take()))
        return self.parse_operation(1)

    def _parse_selector(self, name: str, first: Token) -> Expression:
        matchers = self._parse_matchers() if self.peek().text == "{" else ()
        matches = compile_matchers(matchers)
        if not name and matches("", ()):
            raise PromqlError(
                f"The selector at character {first.position + 1} has no name, and would select "
                "series without these labels."
            )
        window = 0.0
        if self.peek().text == "[":
            self._at += 1
            window = parse_duration(self._take_kind("duration", "a duration such as 5m"))
            if (token := self.peek()).text.startswith(":"):
                raise self.unsupported("A subquery", token)
            self._expect("]")
        offset = self._parse_offset()
        if (token := self.peek()).text == "@":
            raise self.unsupported("The modifier @", token)
        return Selector(name, matchers, window, offset)

    def _parse_matchers(self) -> tuple[Matcher, ...]:
        self._expect("{")
        found: list[Matcher] = []
        while self.peek().text != "}":
            label, operator = self._take_label(), self._take()
            if operator.text not in ("=", "!=", "=~", "!~"):
                raise self.unexpected(operator, "=, !=, =~ or !~")
            value = unquote(self._take_kind("string", "a string"))
            found.append(Matcher(label, cast(MatchOperator, operator.text), value))
            if self.peek().text != ",":
                break
            self._at += 1
        self._expect("}")
        return tuple(found)

    def _parse_offset(self) -> float:
        if self.peek().text.lower() != "offset":
            return 0.0
        self._at += 1
        sign = 1.0
        if self.peek().text in ("+", "-"):
            sign = -1.0 if self._take().text == "-" else 1.0
        return sign * parse_duration(self._take_kind("duration", "a duration such as 5m"))

    def _refuse_subquery(self, inner: Expression) -> Expression:
        """What follows an expression that is not a selector alone. `inner` is returned."""
        token = self.peek()
        if token.text == "[":
            raise self.unsupported("A subquery", token)
        if token.text == "@" or token.text.lower() == "offset":
            raise self.unexpected(token)
        return inner

    def _take(self) -> Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _take_kind(self, kind: str, needed: str) -> Token:
        token = self._take()
        if token.kind != kind:
            raise self.unexpected(token, needed)
        return token

    def _take_label(self) -> str:
        token = self._take_kind("name", "a label")
        if _LABEL.fullmatch(token.text) is None:
            raise self.unexpected(token, "a label")
        return token.text

    def _expect(self, symbol: str) -> None:
        token = self._take()
        if token.kind != "symbol" or token.text != symbol:
            raise self.unexpected(token, symbol)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
