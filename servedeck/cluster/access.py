"""What we may do, asked of the API server, so that keys can be shown off with the reason.

An answer here is advice: the server decides when the request comes. What is not known counts as
allowed, and an error is never taken for a no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

import msgspec

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import AnswerError, ClusterError, words

_RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
_ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Decision(NamedTuple):
    """True where the action is allowed, or where nobody knows."""

    allowed: bool
    reason: str = ""
    """Why not, one sentence; why it is not known, where it is not."""
    known: bool = True

    def __bool__(self) -> bool:
        return self.allowed


class _Rule(msgspec.Struct, rename="camel"):
    verbs: list[str] | None = None
    api_groups: list[str] | None = None
    resources: list[str] | None = None
    resource_names: list[str] | None = None

    def covers(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Source: kubernetes pkg/apis/rbac/v1/evaluation_helpers.go."""
        subresource = resource.partition("/")[2]
        resources = self.resources or ()
        return (
            _matches(verb, self.verbs)
            and _matches(group, self.api_groups)
            and (
                _matches(resource, resources)
                or bool(subresource and f"*/{subresource}" in resources)
            )
            and (not self.resource_names or name in self.resource_names)
        )


class _RulesStatus(msgspec.Struct, rename="camel"):
    resource_rules: list[_Rule] | None = None
    incomplete: bool = False


class _RulesReview(msgspec.Struct):
    status: _RulesStatus


class _AccessStatus(msgspec.Struct):
    allowed: bool = False
    reason: str = ""


class _AccessReview(msgspec.Struct):
    status: _AccessStatus


class _Rules(NamedTuple):
    asked: float
    rules: tuple[_Rule, ...]
    incomplete: bool


class Access:
    """Answers of one connection, kept for `max_age` seconds.

    Resources are written as kubectl writes them: "pods", "deployments.apps". The namespace "" is
    the whole cluster.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        max_age: float = 120.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._connection = connection
        self._max_age = max_age
        self._clock = clock
        self._rules: dict[str, _Rules] = {}
        self._single: dict[tuple[str, ...], tuple[float, Decision]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.error = ""
        """Why the last review failed; "" after one that did not."""

    @classmethod
    async def review(cls, connection: Connection, namespace: str) -> Access:
        """Ask for all that we may do in `namespace`. Never fails: see `error`."""
        access = cls(connection)
        await access.refresh(namespace)
        return access

    async def refresh(self, namespace: str) -> None:
        """Ask anew for a namespace where the answer is older than `max_age`.

        An answer that cannot be had changes nothing: the old one stays, and `error` says why.
        """
        if not namespace:
            return  # rules are reviewed by namespace only
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            held = self._rules.get(namespace)
            if held and self._clock() - held.asked < self._max_age:
                return
            try:
                status = (await self._ask(_RULES, {"namespace": namespace}, _RulesReview)).status
            except ClusterError as error:
                self.error = str(error)
                return
            self.error = ""
            self._rules[namespace] = _Rules(
                self._clock(), tuple(status.resource_rules or ()), status.incomplete
            )

    def allowed(
        self, verb: str, resource: str, namespace: str, subresource: str = "", name: str = ""
    ) -> Decision:
        """What is known so far, without asking."""
        group, full = _split(resource, subresource)
        if single := self._single.get((verb, group, full, namespace, name)):
            return single[1]
        rules = self._rules.get(namespace)
        if rules is None:
            return Decision(True, self.error or "Not asked yet.", known=False)
        if any(rule.covers(verb, group, full, name) for rule in rules.rules):
            return Decision(True)
        if rules.incomplete:
            return Decision(True, "The server does not list all rights.", known=False)
        return _no(verb, group, full, namespace)

    async def check(
        self, verb: str, resource: str, namespace: str, subresource: str = "", name: str = ""
    ) -> Decision:
        """What the server says about one action, asked again once it is older than `max_age`."""
        group, full = _split(resource, subresource)
        key = (verb, group, full, namespace, name)
        held = self._single.get(key)
        if held and self._clock() - held[0] < self._max_age:
            return held[1]
        attributes = {
            "verb": verb,
            "group": group,
            "resource": full.partition("/")[0],
            "subresource": full.partition("/")[2],
            "namespace": namespace,
            "name": name,
        }
        try:
            review = await self._ask(_ACCESS, {"resourceAttributes": attributes}, _AccessReview)
        except ClusterError as error:
            return held[1] if held else Decision(True, str(error), known=False)
        said = Decision(True) if review.status.allowed else _no(verb, group, full, namespace)
        self._single[key] = (self._clock(), said)
        return said

    async def _ask(self, path: str, spec: dict[str, Any], answer: type[Any]) -> Any:
        response = await self._connection.request(
            "POST",
            path,
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectRulesReview" if path == _RULES else "SelfSubjectAccessReview",
                "spec": spec,
            },
        )
        try:
            return msgspec.json.decode(response.body, type=answer)
        except (msgspec.DecodeError, ValueError) as error:
            raise AnswerError(
                f"The server's review of our rights cannot be read: {error}."
            ) from error


def _matches(wanted: str, given: Any) -> bool:
    return bool(given) and (wanted in given or "*" in given)


def _split(resource: str, subresource: str) -> tuple[str, str]:
    """Group, and resource with its subresource as rules write it: "apps", "deployments/scale"."""
    resource, _, inner = resource.partition("/")
    plural, _, group = resource.partition(".")
    full = "/".join(filter(None, (plural, subresource or inner)))
    return group, full


def _no(verb: str, group: str, full: str, namespace: str) -> Decision:
    plural, slash, subresource = full.partition("/")
    resource = f"{plural}.{group}" if group else plural
    where = f" in namespace {namespace}" if namespace else " in the whole cluster"
    return Decision(False, words(f"Needs {verb} on {resource}{slash}{subresource}{where}."))
