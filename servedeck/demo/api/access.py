"""Authorization: the demo's users, their tokens and rules, and the access reviews of
authorization.k8s.io and authentication.k8s.io."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from servedeck.demo.api import status
from servedeck.demo.api.status import StatusCause
from servedeck.demo.resources import GATEWAYS, RESOURCES, Resource

Json = dict[str, Any]
ANY = ("*",)


class AccessRule(NamedTuple):
    """What is allowed, as in an RBAC rule. `namespaces` None: in all, and cluster-wide; `names`
    None: of any name."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...]
    resources: tuple[str, ...]
    namespaces: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None

    def allows(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        def has(known: tuple[str, ...], wanted: str) -> bool:
            return "*" in known or wanted in known

        return (
            has(self.verbs, verb)
            and has(self.groups, group)
            and (has(self.resources, resource) or self._subresource(resource))
            and (self.namespaces is None or namespace in self.namespaces)
            and (self.names is None or name in self.names)
        )

    def _subresource(self, resource: str) -> bool:
        _, slash, last = resource.partition("/")
        return bool(slash) and f"*/{last}" in self.resources


@dataclass(frozen=True)
class DemoUser:
    """A user of the API, with a token that is generated for this run. `default_namespace`: the
    namespace of the user's context."""

    name: str
    rules: tuple[AccessRule, ...]
    groups: tuple[str, ...] = ()
    default_namespace: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def is_allowed(
        self, verb: str, group: str, resource: str, namespace: str, name: str = ""
    ) -> bool:
        return any(
            rule.allows(verb, group, resource, namespace, name)
            for rule in (*self.rules, *_BASIC_RULES)
        )

    def is_path_allowed(self, path: str) -> bool:
        """Whether a path that names no resource is allowed: discovery for all, others for admin."""
        first = path.strip("/").split("/", 1)[0]
        return first in _PUBLIC_PATHS or any(
            rule.resources == ANY and rule.namespaces is None for rule in self.rules
        )


_BASIC_RULES = (
    AccessRule(
        ("create",),
        ("authorization.k8s.io",),
        ("selfsubjectaccessreviews", "selfsubjectrulesreviews"),
    ),
    AccessRule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
)
_PUBLIC_PATHS = ("api", "apis", "openapi", "version", "healthz", "livez", "readyz")
_DISCOVERY_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi"]
_DISCOVERY_PATHS += ["/openapi/*", "/readyz", "/version", "/version/"]
_HIDDEN_RESOURCES = ("secrets",)


def admin(name: str = "admin") -> DemoUser:
    """May do everything."""
    return DemoUser(name, (AccessRule(ANY, ANY, ANY),), ("system:masters",))


def viewer(name: str = "viewer", more_rules: Iterable[AccessRule] = ()) -> DemoUser:
    """May read everything but Secrets, in all namespaces, and the logs of Pods, and what
    `more_rules` allow."""
    readable = tuple(
        r.plural for r in RESOURCES if r.plural not in _HIDDEN_RESOURCES and "get" in r.verbs
    )
    more = tuple(f"{r.plural}/{sub}" for r in RESOURCES for sub in ("status", "scale", "log"))
    rule = AccessRule(("get", "list", "watch"), ANY, (*readable, *more))
    return DemoUser(name, (rule, *more_rules))


def namespace_admin(namespace: str, name: str = "developer") -> DemoUser:
    """May do everything in one namespace, and nothing outside it but read Gateways, which the
    routes of all namespaces share."""
    own = AccessRule(ANY, ANY, ANY, (namespace,))
    shared = AccessRule(("get", "list", "watch"), (GATEWAYS.group,), (GATEWAYS.plural,))
    return DemoUser(name, (own, shared), default_namespace=namespace)


def forbidden_error(
    user: DemoUser, verb: str, group: str, resource: str, name: str, namespace: str
) -> status.StatusError:
    """403 with the real server's message; `resource` may name a subresource ("pods/log")."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    plural = resource.partition("/")[0]
    return status.forbidden(
        group,
        plural,
        name,
        f'User "{user.name}" cannot {verb} resource "{resource}" in API group "{group}" {where}',
    )


def path_forbidden_error(user: DemoUser, verb: str, path: str) -> status.StatusError:
    return status.StatusError(
        403,
        "Forbidden",
        f'forbidden: User "{user.name}" cannot {verb} path "{path}"',
        details={},
    )


def review_access(resource: Resource, user: DemoUser, body: Json) -> Json:
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
        return answer | {"spec": {}, "status": _rules_status(user, spec["namespace"])}
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (asked is None) == (path is None):
        raise _attributes_error(path)
    if asked is not None:
        plural = asked.get("resource", "")
        if asked.get("subresource"):
            plural += f"/{asked['subresource']}"
        allowed = user.is_allowed(
            asked.get("verb", ""),
            asked.get("group", ""),
            plural,
            asked.get("namespace", ""),
            asked.get("name", ""),
        )
    else:
        allowed = user.is_path_allowed((path or {}).get("path", ""))
    return answer | {"spec": spec, "status": {"allowed": allowed}}


def _attributes_error(path: Json | None) -> status.StatusError:
    if path is None:
        cause = StatusCause(
            "FieldValueInvalid",
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must "
            "be specified",
            "spec.resourceAttributes",
        )
    else:
        shown = f'{{"Path":"{path.get("path", "")}","Verb":"{path.get("verb", "")}"}}'
        cause = StatusCause(
            "FieldValueInvalid",
            f"Invalid value: {shown}: cannot be specified in combination with resourceAttributes",
            "spec.nonResourceAttributes",
        )
    return status.invalid("authorization.k8s.io", "", "", [cause])


def _rules_status(user: DemoUser, namespace: str) -> Json:
    found = [
        {
            "verbs": list(rule.verbs),
            "apiGroups": list(rule.groups),
            "resources": list(rule.resources),
        }
        | ({"resourceNames": list(rule.names)} if rule.names is not None else {})
        for rule in (*user.rules, *_BASIC_RULES)
        if rule.namespaces is None or namespace in rule.namespaces
    ]
    paths = [{"verbs": ["get"], "nonResourceURLs": _DISCOVERY_PATHS}]
    if any(rule.resources == ANY and rule.namespaces is None for rule in user.rules):
        paths.insert(0, {"verbs": ["*"], "nonResourceURLs": ["*"]})
    return {"resourceRules": found, "nonResourceRules": paths, "incomplete": False}
