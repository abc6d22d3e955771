"""DestinationRules with a wildcard: one of a serving takes their place, and has their settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.setting_checks import check_settings, complete_engines
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.objects.import_objects import ImportedServing, import_objects
from servedeck.serving.objects.manifests import build_manifests
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.mapping.serving_objects import ServingObjects
from tests.changes.operations.fake_cluster import REFUSED, FakeCluster
from tests.serving.objects.setting_objects import (
    ENGINES,
    Json,
    after,
    edit,
    make_serving,
    make_spec,
    only,
    read_again,
)

TLS: Json = {"tls": {"mode": "ISTIO_MUTUAL"}}
EJECTION: Json = {"outlierDetection": {"consecutive5xxErrors": 5}}
RULES = "/apis/networking.istio.io/v1/namespaces/chat/destinationrules"


def rule(host: str, policy: Json, name: str = "default", **spec: Any) -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {
            "name": name,
            "namespace": "chat",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"host": host, "trafficPolicy": policy, **spec},
    }


def beside(*rules: Json, **fields: Any) -> ImportedServing:
    """A serving whose namespace has these rules."""
    return make_serving(engines=replace(ENGINES, wildcard_rules=rules), **fields)


def warnings_of(current: ImportedServing) -> list[str]:
    wanted = current.spec.replace(load_balancing="random")
    return [one.message for one in check_settings(current.objects, current.spec, wanted)]


def made_of(*rules: Json) -> Json:
    """The trafficPolicy of a new rule of the serving."""
    change = edit(beside(*rules), load_balancing="random")
    assert read_again(change).load_balancing == "random"
    found: Json = only(change, "DestinationRule")["spec"]["trafficPolicy"]
    return found


@pytest.mark.parametrize(
    "host", ["*.chat.svc.cluster.local", "*.svc.cluster.local", "*.local", "*"]
)
def test_the_settings_of_a_wildcard_are_copied(host: str) -> None:
    wide = rule(host, {**TLS, **EJECTION, "loadBalancer": {"simple": "ROUND_ROBIN"}})
    assert made_of(wide) == {**TLS, **EJECTION, "loadBalancer": {"simple": "RANDOM"}}
    assert warnings_of(beside(wide)) == [
        f"DestinationRule default of {host} does not apply to this serving any more: its settings "
        "tls, outlierDetection are copied, but their later changes are not."
    ]


@pytest.mark.parametrize("host", ["*.dev.svc.cluster.local", "*.example.com", "llama", "*lama.x"])
def test_a_rule_of_other_hosts_is_not(host: str) -> None:
    wide = rule(host, TLS)
    assert made_of(wide) == {"loadBalancer": {"simple": "RANDOM"}}
    assert warnings_of(beside(wide)) == []


def test_the_most_specific_one_applies_and_of_equal_ones_the_first() -> None:
    later = rule("*.chat.svc.cluster.local", {"tls": {"mode": "SIMPLE"}}, "later")
    later["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    first = rule("*.chat.svc.cluster.local", TLS, "first")
    assert made_of(rule("*.local", EJECTION), later, first) == {
        **TLS,
        "loadBalancer": {"simple": "RANDOM"},
    }


@pytest.mark.parametrize("algorithm", [{"simple": "ROUND_ROBIN"}, {"consistentHash": {}}, {}])
@pytest.mark.parametrize(
    "beside_it",
    [
        {"localityLbSetting": {"enabled": False}},
        {"warmupDurationSecs": "30s"},
        {"warmup": {"duration": "30s", "aggression": 1}, "localityLbSetting": {"enabled": True}},
    ],
    ids=["locality", "old warm-up", "warm-up and locality"],
)
def test_what_is_beside_the_algorithm_stays(beside_it: Json, algorithm: Json) -> None:
    wide = rule("*.local", {"loadBalancer": {**algorithm, **beside_it}})
    assert made_of(wide) == {"loadBalancer": {"simple": "RANDOM", **beside_it}}
    on = edit(beside(wide), load_balancing="random")
    engines = replace(ENGINES, wildcard_rules=(wide,))
    off = edit(import_objects(after(on), engines), load_balancing="off")
    assert "DestinationRule" not in {one["kind"] for one in after(off)}


@pytest.mark.parametrize(
    ("spec", "lost"),
    [
        ({"exportTo": ["."]}, "tls"),
        ({"workloadSelector": {"matchLabels": {"app": "client"}}}, "tls"),
        ({"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}}]}}, "portLevelSettings"),
        ({"trafficPolicy": {}, "subsets": [{"name": "v1"}]}, "subsets"),
    ],
)
def test_what_is_for_a_part_is_not_copied_but_named(spec: Json, lost: str) -> None:
    wide = rule("*.local", TLS)
    wide["spec"].update(spec)
    assert made_of(wide) == {"loadBalancer": {"simple": "RANDOM"}}
    [text] = warnings_of(beside(wide))
    assert text.endswith(f"any more: {lost} are not copied, add what is needed.")


def test_one_that_is_exported_to_all_is_copied() -> None:
    assert made_of(rule("*.local", TLS, exportTo=["*"])) == {
        **TLS,
        "loadBalancer": {"simple": "RANDOM"},
    }


def test_without_settings_there_is_nothing_to_say() -> None:
    assert warnings_of(beside(rule("*.local", {"loadBalancer": {"simple": "RANDOM"}}))) == []


def test_a_rule_that_the_serving_has_already_gets_nothing() -> None:
    before = edit(make_serving(load_balancing="round-robin"))
    engines = replace(ENGINES, wildcard_rules=(rule("*.local", TLS),))
    current = import_objects(after(before), engines)
    changed = only(edit(current, load_balancing="random"), "DestinationRule")
    assert changed["spec"]["trafficPolicy"] == {"loadBalancer": {"simple": "RANDOM"}}
    assert warnings_of(current) == []


def test_off_deletes_a_rule_with_the_copied_settings_alone() -> None:
    wide = rule("*.local", TLS)
    on = edit(beside(wide), load_balancing="random")
    engines = replace(ENGINES, wildcard_rules=(wide,))
    current = import_objects(after(on), engines)
    assert [one.kind for one in edit(current, load_balancing="off").removed] == ["DestinationRule"]
    other = import_objects(after(on), ENGINES)  # the wildcard's is gone: TLS is needed still
    kept = only(edit(other, load_balancing="off"), "DestinationRule")
    assert kept["spec"]["trafficPolicy"] == TLS


# -- where they are read ------------------------------------------------------------------------


async def test_those_of_an_existing_serving_are_read_with_its_objects() -> None:
    wide, ending = rule("*.local", TLS), rule("*.chat.svc.cluster.local", TLS, "ending")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    current = make_serving()
    answers: Json = {
        "/apis/apps/v1/namespaces/chat/deployments/llama": current.objects.deployment,
        RULES: {"items": [wide, ending, rule("other", TLS, "other")]},
        "/apis": {"groups": [{"name": "networking.istio.io"}]},
    }
    live = await fetch_live_objects(FakeCluster(answers).connection, "chat", "llama")
    assert [one["metadata"]["name"] for one in live.engines.wildcard_rules] == ["default"]
    assert [one["kind"] for one in live.objects] == ["Deployment"]


@pytest.mark.parametrize("forbidden", [False, True])
async def test_those_of_a_new_serving_are_listed_if_it_gets_a_rule(forbidden: bool) -> None:
    answer: Any = ApiError(403, "Forbidden", "no") if forbidden else {"items": [rule("*", TLS)]}
    cluster = FakeCluster()
    cluster.objects[RULES] = REFUSED  # nothing is read while it is off
    nothing = ServingObjects({}, engines=ENGINES)
    off = await complete_engines(cluster.connection, nothing, make_spec())
    assert off.wildcard_rules == ()
    cluster.objects[RULES] = answer
    spec = make_spec(load_balancing="random")
    engines = await complete_engines(cluster.connection, nothing, spec)
    objects = build_manifests(spec, PlatformSettings(engines=engines))
    built = next(one for one in objects if one["kind"] == "DestinationRule")
    assert ("tls" in built["spec"]["trafficPolicy"]) is not forbidden
    found = check_settings(import_objects(objects, engines).objects, None, spec)
    assert [one.field for one in found] == [] if forbidden else ["load_balancing"]
