"""What a regular expression tells before it is used: text that every match contains, which is much
faster to look for, and how much backtracking it may need.

Reads the parser of the standard library, `re._parser`, which has no public name since Python 3.11.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterable, Sequence, Set
from functools import lru_cache
from typing import Any, NamedTuple

_MAX_LITERALS = 8
_UNBOUNDED = 64
"""A repeat of more than so many turns counts as unbounded."""
_MAX_TURNS = 32
"""Turns of a repeat whose body can itself match in several ways."""
_MAX_BITS = 16
"""Ways in which all bounded repeats and alternatives together may match, as a power of two."""
_BRACKETS = re.compile(r"\\.|\[\^?\]?|[\]()|]", re.S)
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_SAMPLE = frozenset([*map(chr, range(128)), "\xa0", "é", "٣", "中", "—"])
"""Characters that stand for all: ASCII, and a space, letter, digit and others beyond it."""
_BEYOND_ASCII = frozenset(char for char in _SAMPLE if not char.isascii())

_Node = tuple[Any, Any]


_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "DIGIT": str.isdigit,
    "SPACE": str.isspace,
    "WORD": lambda char: char.isalnum() or char == "_",
}


class RegexShape(NamedTuple):
    literals: tuple[str, ...]
    """Every match contains one of them; () if none are known."""
    degree: int
    """How many of its repeats can each end at several places from which the rest is tried again, or
    1 if only the tries from different starts read the same characters again. The time for a line of
    n characters grows about with the power `degree + 1` of n at worst."""
    is_exponential: bool
    """The time may grow exponentially with the length of a line."""


def read_shape(pattern: str, flags: int) -> RegexShape:
    """The shape of a valid regular expression."""
    tree = _parse(pattern, flags)
    try:
        cost = _sequence_cost(tree, frozenset())
    except _ExponentialError:
        return RegexShape((), 0, True)
    degree = cost.degree or int(_reads_again(tree))
    literals = tuple(sorted(_required(tree)))
    if min(map(len, literals), default=0) < 2:
        literals = ()
    return RegexShape(literals, degree, cost.bits > _MAX_BITS)


def has_alternatives(pattern: str) -> bool:
    """Whether a valid regular expression has `|` outside of parentheses."""
    depth, in_set = 0, False
    for match in _BRACKETS.finditer(pattern):
        found = match[0]
        if in_set:
            in_set = found != "]"
        elif found[0] == "[":
            in_set = True
        elif found == "|" and not depth:
            return True
        else:
            depth += {"(": 1, ")": -1}.get(found, 0)
    return False


def _parse(pattern: str, flags: int) -> list[_Node]:
    return list(importlib.import_module("re._parser").parse(pattern, flags))


def _required(nodes: Iterable[_Node]) -> frozenset[str]:
    """Literals of which one is in every match of a sequence: those that are most selective."""
    best: frozenset[str] = frozenset()
    run = ""
    for op, value in [*nodes, ("END", None)]:
        if str(op) == "LITERAL":
            run += chr(value)
            continue
        best, run = _more_selective(best, frozenset([run] if run else [])), ""
        best = _more_selective(best, _required_by(str(op), value))
    return best


def _required_by(op: str, value: Any) -> frozenset[str]:
    if op == "SUBPATTERN":
        _, added_flags, removed_flags, body = value
        return frozenset() if added_flags or removed_flags else _required(body)
    if op == "ATOMIC_GROUP":
        return _required(value)
    if op in _REPEATS and value[0] > 0:
        return _required(value[2])
    if op == "BRANCH":
        found = [_required(each) for each in value[1]]
        joined = frozenset[str]().union(*found)
        return joined if all(found) and len(joined) <= _MAX_LITERALS else frozenset()
    return frozenset()


def _more_selective(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """The set whose shortest literal is longer."""
    shortest = min(map(len, one), default=0), min(map(len, other), default=0)
    return other if shortest[1] > shortest[0] else one


class _ExponentialError(Exception):
    """A repeat of something that can match the same text in several ways."""


class _Cost(NamedTuple):
    """In how many ways something can match: 2 to the power of `bits`, times the length to the power
    of `degree`."""

    bits: float
    degree: int


def _sequence_cost(nodes: Sequence[_Node], following: frozenset[str]) -> _Cost:
    """The cost of a sequence before something that begins with a character of `following`."""
    bits, degree = 0.0, 0
    for node in reversed(nodes):
        cost = _node_cost(node, following)
        bits, degree = bits + cost.bits, degree + cost.degree
        first = _first(node)
        following = first | following if _may_be_empty(node) else first
    return _Cost(bits, degree)


def _node_cost(node: _Node, following: frozenset[str]) -> _Cost:
    op, value = str(node[0]), node[1]
    if op == "SUBPATTERN":
        return _sequence_cost(value[3], following)
    if op == "ATOMIC_GROUP":
        return _sequence_cost(value, frozenset())
    if op in ("ASSERT", "ASSERT_NOT"):
        return _sequence_cost(value[1], frozenset())
    if op == "BRANCH":
        costs = [_sequence_cost(each, following) for each in value[1]]
        bits = 0.0 if _are_distinct(value[1]) else math.log2(len(costs))
        return _Cost(bits + max(cost.bits for cost in costs), max(cost.degree for cost in costs))
    if op in _REPEATS:
        return _repeat_cost(op, value, following)
    if op == "GROUPREF_EXISTS":
        parts = [part for part in value[1:] if part is not None]
        costs = [_sequence_cost(part, following) for part in parts]
        return _Cost(1 + max(cost.bits for cost in costs), max(cost.degree for cost in costs))
    return _Cost(0, 0)


def _repeat_cost(op: str, value: Any, following: frozenset[str]) -> _Cost:
    least, most, body = value
    inner = _sequence_cost(body, following | _first_of(body))
    if op == "POSSESSIVE_REPEAT":
        return inner
    if inner != (0, 0):
        if most > _MAX_TURNS:
            raise _ExponentialError
        inner = _Cost(inner.bits * most, inner.degree * most)
    if least == most or not _first_of(body) & following:
        return inner  # only one number of turns leaves what can follow
    if most - least > _UNBOUNDED:
        return _Cost(inner.bits, inner.degree + 1)
    return _Cost(inner.bits + math.log2(most - least + 1), inner.degree)


def _reads_again(nodes: Sequence[_Node]) -> bool:
    """Whether a long repeat can begin at any of the characters that it takes."""
    before: frozenset[str] = _SAMPLE
    for node in nodes:
        op, value = str(node[0]), node[1]
        match op:
            case "SUBPATTERN":
                parts = [value[3]]
            case "ATOMIC_GROUP":
                parts = [value]
            case "ASSERT" | "ASSERT_NOT":
                parts = [value[1]]
            case "BRANCH":
                parts = value[1]
            case "GROUPREF_EXISTS":
                parts = [part for part in value[1:] if part is not None]
            case _ if op in _REPEATS:
                parts = [value[2]]
                if value[1] > _UNBOUNDED and _first_of(value[2]) & before:
                    return True
            case _:
                parts = []
        if any(map(_reads_again, parts)):
            return True
        before = before | _first(node) if _may_be_empty(node) else _last(node)
    return False


def _last(node: _Node) -> frozenset[str]:
    """The characters with which a node can end; all if that is not a matter of one character."""
    op, value = str(node[0]), node[1]
    if op in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
        return _characters(op, value)
    return _SAMPLE


def _are_distinct(alternatives: Iterable[Sequence[_Node]]) -> bool:
    """Whether at most one of the alternatives can match, by the first character."""
    seen: set[str] = set()
    for each in alternatives:
        first = _first_of(each)
        if all(map(_may_be_empty, each)) or first & seen:
            return False
        seen |= first
    return True


def _first_of(nodes: Iterable[_Node]) -> frozenset[str]:
    """The characters of the sample with which a sequence can begin."""
    found: frozenset[str] = frozenset()
    for node in nodes:
        found |= _first(node)
        if not _may_be_empty(node):
            break
    return found


def _first(node: _Node) -> frozenset[str]:
    op, value = str(node[0]), node[1]
    if op in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
        return _characters(op, value)
    if op == "SUBPATTERN":
        return _first_of(value[3])
    if op == "ATOMIC_GROUP":
        return _first_of(value)
    if op in _REPEATS:
        return _first_of(value[2])
    if op == "BRANCH":
        return frozenset[str]().union(*map(_first_of, value[1]))
    if op in ("AT", "ASSERT", "ASSERT_NOT"):
        return frozenset()
    return _SAMPLE  # a reference to a group


def _may_be_empty(node: _Node) -> bool:
    op, value = str(node[0]), node[1]
    if op in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
        return False
    if op == "SUBPATTERN":
        return all(map(_may_be_empty, value[3]))
    if op == "ATOMIC_GROUP":
        return all(map(_may_be_empty, value))
    if op in _REPEATS:
        return value[0] == 0 or all(map(_may_be_empty, value[2]))
    if op == "BRANCH":
        return any(all(map(_may_be_empty, each)) for each in value[1])
    return True


def _characters(op: str, value: Any) -> frozenset[str]:
    """The characters of the sample that one node matches, in either case; all beyond ASCII if it
    may match some."""
    if op == "ANY":
        return _SAMPLE
    if op == "LITERAL":
        return _either_case(chr(value))
    if op == "NOT_LITERAL":
        return _all_but(_either_case(chr(value)))
    negated = str(value[0][0]) == "NEGATE"
    found: set[str] = set()
    for kind, what in value:
        match str(kind):
            case "LITERAL":
                found |= _either_case(chr(what))
            case "RANGE":
                low, high = what
                for char in _SAMPLE:
                    if low <= ord(char) <= high:
                        found |= _either_case(char)
                if high > 127:
                    found |= _BEYOND_ASCII
            case "CATEGORY":
                found |= _category(str(what))
    return _all_but(found) if negated else frozenset(found)


def _all_but(excluded: Set[str]) -> frozenset[str]:
    """Only what is excluded for certain is: beyond ASCII, and for a letter whose other case may be
    ignored or not, that is not worked out."""
    return _SAMPLE - {char for char in excluded if char.isascii() and not char.isalpha()}


def _either_case(char: str) -> frozenset[str]:
    if not char.isascii():
        return _BEYOND_ASCII | frozenset(char.lower() + char.upper()) & _SAMPLE
    if char in "iksIKS":  # have further forms beyond ASCII where case is ignored
        return frozenset((char.lower(), char.upper())) | _BEYOND_ASCII
    return frozenset((char.lower(), char.upper()))


@lru_cache(maxsize=16)
def _category(name: str) -> frozenset[str]:
    kind = name.removeprefix("CATEGORY_").replace("NOT_", "")
    inside = _CATEGORIES.get(kind)
    if inside is None:
        return _SAMPLE
    return frozenset(char for char in _SAMPLE if inside(char) != ("NOT_" in name))
