"""The undo of prefix-aware load balancing: the rules of the HTTPRoute and the policy as before."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from servedeck.serving.objects.change import ObjectChange, change_objects
from servedeck.serving.objects.earlier_objects import EarlierObject, find_lost_rules
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from tests.serving.objects.setting_objects import Json, after, edit, only, read_again
from tests.serving.objects.test_inference_pools import POOL_REF, pool, refs, serving

SERVICE_REF = {"group": "", "kind": "Service", "name": "llama", "port": 80}
OTHER_REF = {**SERVICE_REF, "name": "llama-internal", "port": 9000}


def rule(path: str, ref: Json) -> Json:
    match = {"path": {"type": "PathPrefix", "value": path}}
    return {"matches": [match], "backendRefs": [dict(ref)]}


def to_pool(name: str) -> Json:
    return {**POOL_REF, "name": name}


def routed(*rules: Json, **fields: Any) -> ImportedServing:
    """A serving with two Services and two pools whose HTTPRoute has these rules."""
    current = serving(pool("a-pool"), pool("b-pool"), **fields)
    route = current.objects.routes[0]
    route["metadata"]["uid"] = "route"
    route["spec"]["rules"] = list(rules)
    internal = copy.deepcopy(current.objects.services[0])
    internal["metadata"]["name"] = "llama-internal"
    internal["spec"]["ports"][0]["port"] = 9000
    return import_objects([*current.objects.all, internal], current.objects.engines)


def saved(current: ImportedServing, change: ObjectChange) -> ImportedServing:
    return import_objects(copy.deepcopy(after(change)), current.objects.engines)


def earlier_of(change: ObjectChange, *kinds: str) -> list[EarlierObject]:
    left = after(change)
    return [
        EarlierObject(before, changed if changed in left else None)
        for before, changed in zip(change.live, change.changed, strict=False)
        if before["kind"] in kinds
    ]


def undo(
    current: ImportedServing, now: ImportedServing, earlier: list[EarlierObject]
) -> ObjectChange:
    wanted = now.spec.replace(load_balancing=current.spec.load_balancing)
    return change_objects(now, wanted, create_missing=False, earlier=earlier)


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([rule("/v1", to_pool("b-pool"))], "off"),
        ([rule("/v1", to_pool("b-pool")), rule("/admin", to_pool("a-pool"))], "round-robin"),
        ([rule("/v1", OTHER_REF), rule("/admin", SERVICE_REF)], "prefix-aware"),
    ],
    ids=["off", "round-robin", "prefix-aware"],
)
def test_each_rule_sends_to_what_it_did(rules: list[Json], wanted: str) -> None:
    current = routed(*copy.deepcopy(rules))
    change = edit(current, load_balancing=wanted)
    assert refs(only(change, "HTTPRoute")) != [one["backendRefs"] for one in rules]
    back = undo(current, saved(current, change), earlier_of(change, "HTTPRoute"))
    assert back.issues == ()
    assert only(back, "HTTPRoute")["spec"]["rules"] == rules
    assert "BackendTrafficPolicy" not in {one["kind"] for one in after(back)}
    assert read_again(back, current.objects.engines) == current.spec


def test_rules_that_others_added_since_stay() -> None:
    current = routed(rule("/v1", to_pool("b-pool")))
    change = edit(current, load_balancing="off")
    now = saved(current, change)
    added = rule("/v1/async", {"name": "llama-async", "port": 80})
    now.objects.routes[0]["spec"]["rules"].insert(0, added)
    back = undo(current, now, earlier_of(change, "HTTPRoute"))
    assert back.issues == ()
    assert only(back, "HTTPRoute")["spec"]["rules"] == [added, rule("/v1", to_pool("b-pool"))]


def test_a_rule_that_somebody_changed_since_keeps_the_undo_from_guessing() -> None:
    current = routed(rule("/v1", to_pool("b-pool")))
    change = edit(current, load_balancing="off")
    now, earlier = saved(current, change), earlier_of(change, "HTTPRoute")
    assert find_lost_rules(now.objects, earlier) == []
    now.objects.routes[0]["spec"]["rules"][0]["timeouts"] = {"request": "9s"}
    text = "The backends of HTTPRoute llama were changed since; the change cannot be undone."
    assert [one.message for one in undo(current, now, earlier).issues if one.is_error] == [text]
    now.objects.routes.clear()
    assert find_lost_rules(now.objects, earlier) == [text]
    # What was put back already is not lost.
    assert find_lost_rules(current.objects, earlier) == []


def test_a_policy_that_prefix_aware_took_away_is_as_it_was() -> None:
    current = routed(rule("/v1", OTHER_REF), load_balancing="least-requests")
    policy = current.objects.policies[0]
    policy["metadata"]["uid"] = "policy"
    policy["spec"]["loadBalancer"]["slowStart"] = {"window": "60s"}
    before = copy.deepcopy(policy["spec"])
    change = edit(current, load_balancing="prefix-aware")
    earlier = earlier_of(change, "BackendTrafficPolicy", "HTTPRoute")
    now = saved(current, change)
    assert (now.spec.load_balancing, now.objects.policies) == ("prefix-aware", [])
    back = undo(current, now, earlier)
    assert only(back, "BackendTrafficPolicy")["spec"] == before
    assert refs(only(back, "HTTPRoute")) == [[OTHER_REF]]
