"""Permissions of the user, from access reviews, so that keys can be disabled with a reason.

A decision is advisory: the server decides on the actual request. Unknown counts as allowed, and a
failed review never counts as denied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

import msgspec

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError, InvalidResponseError, clean_message

_RULES_REVIEW_PATH = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
_ACCESS_REVIEW_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class AccessDecision(NamedTuple):
    """True if the action is allowed or the decision is unknown."""

    allowed: bool
    reason: str = ""
    """Why it is denied or unknown, one sentence."""
    known: bool = True

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def denied_reason(self) -> str:
        """Why it is denied; "" if it is not, or if that is unknown."""
        return "" if self.allowed else self.reason


class _ResourceRule(msgspec.Struct, rename="camel"):
    verbs: list[str] | None = None
    api_groups: list[str] | None = None
    resources: list[str] | None = None
    resource_names: list[str] | None = None

    def allows(self, verb: str, group: str, resource: str, name: str) -> bool:
        """Source: kubernetes pkg/apis/rbac/v1/evaluation_helpers.go."""
        subresource = resource.partition("/")[2]
        resources = self.resources or ()
        return (
            _rule_matches(verb, self.verbs)
            and _rule_matches(group, self.api_groups)
            and (
                _rule_matches(resource, resources)
                or bool(subresource and f"*/{subresource}" in resources)
            )
            and (not self.resource_names or name in self.resource_names)
        )


class _RulesStatus(msgspec.Struct, rename="camel"):
    resource_rules: list[_ResourceRule] | None = None
    incomplete: bool = False


class _SelfSubjectRulesReview(msgspec.Struct):
    status: _RulesStatus


class _AccessStatus(msgspec.Struct):
    allowed: bool = False
    reason: str = ""


class _SelfSubjectAccessReview(msgspec.Struct):
    status: _AccessStatus


class _CachedRules(NamedTuple):
    fetched_at: float
    rules: tuple[_ResourceRule, ...]
    incomplete: bool


class AccessChecker:
    """Access reviews of one connection, cached for `max_age` seconds.

    Resources are written as in kubectl: "pods", "deployments.apps". The namespace "" means
    cluster-wide.
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
        self._rules_by_namespace: dict[str, _CachedRules] = {}
        self._decisions: dict[tuple[str, ...], tuple[float, AccessDecision]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.last_error = ""
        """Why the last rules review failed; "" if it succeeded."""

    @classmethod
    async def load(cls, connection: Connection, namespace: str) -> AccessChecker:
        """A checker with the rules of `namespace` loaded. Never raises: see `last_error`."""
        access = cls(connection)
        await access.refresh(namespace)
        return access

    async def refresh(self, namespace: str) -> None:
        """Reload the rules of a namespace if they are older than `max_age`.

        If the review fails, the cached rules remain, and `last_error` contains the reason.
        """
        if not namespace:
            return  # rules reviews are per namespace
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            cached = self._rules_by_namespace.get(namespace)
            if cached and self._clock() - cached.fetched_at < self._max_age:
                return
            try:
                status = (
                    await self._post_review(
                        _RULES_REVIEW_PATH, {"namespace": namespace}, _SelfSubjectRulesReview
                    )
                ).status
            except ClusterError as error:
                self.last_error = str(error)
                return
            self.last_error = ""
            self._rules_by_namespace[namespace] = _CachedRules(
                self._clock(), tuple(status.resource_rules or ()), status.incomplete
            )

    def cached_decision(
        self, verb: str, resource: str, namespace: str, subresource: str = "", name: str = ""
    ) -> AccessDecision:
        """The decision from cached reviews, without a request."""
        group, resource_path = _split_resource(resource, subresource)
        if checked := self._decisions.get((verb, group, resource_path, namespace, name)):
            return checked[1]
        rules = self._rules_by_namespace.get(namespace)
        if rules is None:
            return AccessDecision(True, self.last_error or "Not checked yet.", known=False)
        if any(rule.allows(verb, group, resource_path, name) for rule in rules.rules):
            return AccessDecision(True)
        if rules.incomplete:
            return AccessDecision(True, "The server does not list all permissions.", known=False)
        return _denied(verb, group, resource_path, namespace)

    async def check(
        self, verb: str, resource: str, namespace: str, subresource: str = "", name: str = ""
    ) -> AccessDecision:
        """The decision from a SelfSubjectAccessReview, cached for `max_age`."""
        group, resource_path = _split_resource(resource, subresource)
        key = (verb, group, resource_path, namespace, name)
        cached = self._decisions.get(key)
        if cached and self._clock() - cached[0] < self._max_age:
            return cached[1]
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource_path.partition("/")[0],
            "subresource": resource_path.partition("/")[2],
            "namespace": namespace,
            "name": name,
        }
        try:
            review = await self._post_review(
                _ACCESS_REVIEW_PATH, {"resourceAttributes": attributes}, _SelfSubjectAccessReview
            )
        except ClusterError as error:
            return cached[1] if cached else AccessDecision(True, str(error), known=False)
        decision = (
            AccessDecision(True)
            if review.status.allowed
            else _denied(verb, group, resource_path, namespace)
        )
        self._decisions[key] = (self._clock(), decision)
        return decision

    async def _post_review(self, path: str, spec: dict[str, Any], response_type: type[Any]) -> Any:
        response = await self._connection.request(
            "POST",
            path,
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectRulesReview"
                if path == _RULES_REVIEW_PATH
                else "SelfSubjectAccessReview",
                "spec": spec,
            },
        )
        try:
            return msgspec.json.decode(response.body, type=response_type)
        except (msgspec.DecodeError, ValueError) as error:
            raise InvalidResponseError(
                f"The server's access review cannot be read: {error}."
            ) from error


def websocket_permissions(
    resource: str, server_version: tuple[int, int] | None
) -> tuple[tuple[str, str], ...]:
    """Verbs and resource for a WebSocket such as pods/exec. It is opened with GET, so `get` has
    always been required; from 1.35 on, `create` as well (kubernetes pull request 134577)."""
    permissions = (("create", resource), ("get", resource))
    is_older = server_version is not None and server_version < _CREATE_REQUIRED_SINCE
    return permissions[1:] if is_older else permissions


_CREATE_REQUIRED_SINCE = (1, 35)


def _rule_matches(requested: str, granted: Any) -> bool:
    return bool(granted) and (requested in granted or "*" in granted)


def _split_resource(resource: str, subresource: str) -> tuple[str, str]:
    """API group, and resource with subresource as in RBAC rules: "apps", "deployments/scale"."""
    resource, _, inline_subresource = resource.partition("/")
    plural, _, group = resource.partition(".")
    resource_path = "/".join(filter(None, (plural, subresource or inline_subresource)))
    return group, resource_path


def _denied(verb: str, group: str, resource_path: str, namespace: str) -> AccessDecision:
    plural, slash, subresource = resource_path.partition("/")
    resource = f"{plural}.{group}" if group else plural
    where = f" in namespace {namespace}" if namespace else " in the whole cluster"
    return AccessDecision(
        False, clean_message(f"Needs {verb} on {resource}{slash}{subresource}{where}.")
    )
