"""Who may do what: the demo's users, their tokens and rules, and the reviews by which a client
asks for them (authorization.k8s.io, authentication.k8s.io)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from servedeck.demo.api import status
from servedeck.demo.api.status import Cause
from servedeck.demo.resources import RESOURCES, Resource

Json = dict[str, Any]
ANY = ("*",)


class Rule(NamedTuple):
    """What is allowed, as in an RBAC rule; `namespaces` None: in all, and cluster-wide."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    namespaces: tuple[str, ...] | None = None

    def allows(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        def has(known: tuple[str, ...], wanted: str) -> bool:
            return "*" in known or wanted in known

        return (
            has(self.verbs, verb)
            and has(self.groups, group)
            and (has(self.resources, resource) or self._subresource(resource))
            and (self.namespaces is None or namespace in self.namespaces)
        )

    def _subresource(self, resource: str) -> bool:
        _, slash, last = resource.partition("/")
        return bool(slash) and f"*/{last}" in self.resources


@dataclass(frozen=True)
class User:
    """Someone who may use the API, known by a token made for this run. `home`: the namespace of
    their context."""

    name: str
    rules: tuple[Rule, ...]
    groups: tuple[str, ...] = ()
    home: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def may(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        return any(rule.allows(verb, group, resource, namespace) for rule in (*self.rules, *_BASIC))

    def may_path(self, path: str) -> bool:
        """Paths beside the resources: everyone may discover, admin may all."""
        first = path.strip("/").split("/", 1)[0]
        return first in _PUBLIC or any(
            rule.resources == ANY and rule.namespaces is None for rule in self.rules
        )


_BASIC = (
    Rule(
        ("create",),
        ("authorization.k8s.io",),
        ("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    ),
    Rule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
)
_PUBLIC = ("api", "apis", "openapi", "version", "healthz", "livez", "readyz")
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi"]
_DISCOVERY += ["/openapi/*", "/readyz", "/version", "/version/"]
_HIDDEN = ("secrets",)


def admin(name: str = "admin") -> User:
    """May do everything."""
    return User(name, (Rule(ANY, ANY, ANY),), ("system:masters",))


def viewer(name: str = "viewer") -> User:
    """May read everything but Secrets, in all namespaces, and the logs of Pods."""
    readable = tuple(r.plural for r in RESOURCES if r.plural not in _HIDDEN and "get" in r.verbs)
    more = tuple(f"{r.plural}/{sub}" for r in RESOURCES for sub in ("status", "scale", "log"))
    return User(name, (Rule(("get", "list", "watch"), ANY, (*readable, *more)),))


def namespace_admin(namespace: str, name: str = "developer") -> User:
    """May do everything in one namespace, and nothing outside it."""
    return User(name, (Rule(ANY, ANY, ANY, (namespace,)),), home=namespace)


def denied(
    user: User, verb: str, group: str, resource: str, name: str, namespace: str
) -> status.StatusError:
    """403 in the real server's words; `resource` may name a subresource ("pods/log")."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    plural = resource.partition("/")[0]
    return status.forbidden(
        group,
        plural,
        name,
        f'User "{user.name}" cannot {verb} resource "{resource}" in API group "{group}" {where}',
    )


def path_denied(user: User, verb: str, path: str) -> status.StatusError:
    return status.StatusError(
        403,
        "Forbidden",
        f'forbidden: User "{user.name}" cannot {verb} path "{path}"',
        details={},
    )


def review(resource: Resource, user: User, body: Json) -> Json:
    """Answers a SelfSubjectAccessReview, SelfSubjectRulesReview or SelfSubjectReview."""
    answer: Json = {"kind": resource.kind, "apiVersion": resource.api_version}
    spec = body.get("spec") or {}
    if resource.kind == "SelfSubjectReview":
        groups = [*user.groups, "system:authenticated"]
        return answer | {
            "metadata": {},
            "status": {"userInfo": {"username": user.name, "uid": user.name, "groups": groups}},
        }
    answer |= {"metadata": {}}
    if resource.kind == "SelfSubjectRulesReview":
        if not spec.get("namespace"):
            raise status.bad_request("no namespace on request")
        return answer | {"spec": {}, "status": _rules(user, spec["namespace"])}
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (asked is None) == (path is None):
        raise _one_of(path)
    if asked is not None:
        plural = asked.get("resource", "")
        if asked.get("subresource"):
            plural += f"/{asked['subresource']}"
        allowed = user.may(
            asked.get("verb", ""), asked.get("group", ""), plural, asked.get("namespace", "")
        )
    else:
        allowed = user.may_path((path or {}).get("path", ""))
    return answer | {"spec": spec, "status": {"allowed": allowed}}


def _one_of(path: Json | None) -> status.StatusError:
    if path is None:
        cause = Cause(
            "FieldValueInvalid",
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must "
            "be specified",
            "spec.resourceAttributes",
        )
    else:
        shown = f'{{"Path":"{path.get("path", "")}","Verb":"{path.get("verb", "")}"}}'
        cause = Cause(
            "FieldValueInvalid",
            f"Invalid value: {shown}: cannot be specified in combination with resourceAttributes",
            "spec.nonResourceAttributes",
        )
    return status.invalid("authorization.k8s.io", "", "", [cause])


def _rules(user: User, namespace: str) -> Json:
    found = [
        {
            "verbs": list(rule.verbs),
            "apiGroups": list(rule.groups),
            "resources": list(rule.resources),
        }
        for rule in (*user.rules, *_BASIC)
        if rule.namespaces is None or namespace in rule.namespaces
    ]
    paths = [{"verbs": ["get"], "nonResourceURLs": _DISCOVERY}]
    if any(rule.resources == ANY and rule.namespaces is None for rule in user.rules):
        paths.insert(0, {"verbs": ["*"], "nonResourceURLs": ["*"]})
    return {"resourceRules": found, "nonResourceRules": paths, "incomplete": False}
