"""Which rule a request meets, and what its filters change."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.demo.route_gateway.matching import (
    RoutedRequest,
    find_rule,
    modify_headers,
    rewrite_path,
)

Json = dict[str, Any]
PORT = 8080
GATEWAY: Json = {
    "metadata": {"namespace": "platform", "name": "gateway"},
    "spec": {
        "listeners": [
            {"name": "http", "port": PORT, "protocol": "HTTP"},
            {"name": "https", "port": 443, "protocol": "HTTPS"},
            {"name": "lab", "port": PORT, "protocol": "HTTP", "hostname": "*.lab.example"},
        ]
    },
}
PARENT = {"namespace": "platform", "name": "gateway", "sectionName": "http"}


def rule(*matches: Json, **more: Any) -> Json:
    return {"matches": list(matches), **more}


def path(value: str, kind: str = "PathPrefix", **more: Any) -> Json:
    return {"path": {"type": kind, "value": value}, **more}


def route(name: str, *rules: Json, parent: Json = PARENT, created: str = "1", **spec: Any) -> Json:
    return {
        "metadata": {"namespace": "lab", "name": name, "creationTimestamp": created},
        "spec": {"parentRefs": [parent], "hostnames": ["localhost"], "rules": list(rules), **spec},
    }


def met(routes: list[Json], given: str, host: str = "localhost", **more: Any) -> str:
    """Name of the route and number of the rule that a request meets; "" for none."""
    found = find_rule(GATEWAY, PORT, routes, RoutedRequest(host, given, **more))
    if found is None:
        return ""
    return f"{found.route['metadata']['name']} {found.route['spec']['rules'].index(found.rule)}"


@pytest.mark.parametrize(
    ("value", "given", "is_met"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/b/", True),
        ("/a/b", "/a/b/c", True),
        ("/a/b/", "/a/b", True),
        ("/a/b", "/a/bc", False),
        ("/a/b", "/a", False),
        ("/", "/any", True),
    ],
)
def test_a_prefix_is_whole_elements_of_the_path(value: str, given: str, is_met: bool) -> None:
    assert met([route("one", rule(path(value)))], given) == ("one 0" if is_met else "")


def test_the_most_specific_match_comes_first() -> None:
    rules = (
        rule(path("/a")),
        rule(path("/a/b")),
        rule(path("/a/b", headers=[{"name": "X-Async", "value": "true"}])),
        rule(path("/a/b", method="PUT")),
        rule(path("/a/b/[0-9]+", "RegularExpression")),
        rule(path("/a/b/7", "Exact")),
        rule(path("/a/b", queryParams=[{"name": "v", "value": "2"}])),
    )
    routes = [route("one", *rules)]
    assert met(routes, "/a/x") == "one 0"
    assert met(routes, "/a/b/x") == "one 1"
    assert met(routes, "/a/b/x", headers={"x-async": "true"}) == "one 2"
    assert met(routes, "/a/b/x", headers={"x-async": "false"}) == "one 1"
    assert met(routes, "/a/b/x", headers={"x-async": "true"}, method="PUT") == "one 3"
    assert met(routes, "/a/b/8") == "one 4"
    assert met(routes, "/a/b/7") == "one 5"
    assert met(routes, "/a/b/x", query={"v": "2"}) == "one 6"
    assert met(routes, "/b") == ""


def test_of_equal_matches_the_oldest_route_and_the_first_rule_win() -> None:
    young = route("young", rule(path("/a")), created="2")
    old = route("z-old", rule(path("/a")), rule(path("/a")), created="1")
    assert met([young, old], "/a") == "z-old 0"
    same = route("a-old", rule(path("/a")), created="1")
    assert met([young, old, same], "/a") == "a-old 0"


def test_a_route_without_matches_is_for_all_requests() -> None:
    assert met([route("one", {"backendRefs": []})], "/any", method="DELETE") == "one 0"


@pytest.mark.parametrize(
    ("hosts", "given", "is_met"),
    [
        (["localhost"], "LOCALHOST", True),
        (["localhost"], "127.0.0.1", False),
        (["a.example", "localhost"], "localhost", True),
        (["*.example"], "a.b.example", True),
        (["*.example"], "example", False),
        (["*.example"], ".example", False),
        ([], "any.example", True),
    ],
)
def test_hosts(hosts: list[str], given: str, is_met: bool) -> None:
    found = met([route("one", rule(path("/")), hostnames=hosts)], "/", given)
    assert found == ("one 0" if is_met else "")


def test_the_most_specific_host_comes_first() -> None:
    routes = [
        route("any", rule(path("/a/b")), hostnames=[]),
        route("below", rule(path("/a/b")), hostnames=["*.example"]),
        route("exact", rule(path("/a")), hostnames=["x.example"]),
    ]
    assert met(routes, "/a/b", "x.example") == "exact 0"
    assert met(routes, "/a/b", "y.example") == "below 0"
    assert met(routes, "/a/b", "localhost") == "any 0"


@pytest.mark.parametrize(
    ("parent", "host", "is_met"),
    [
        ({"namespace": "platform", "name": "gateway"}, "localhost", True),
        ({"namespace": "platform", "name": "gateway", "port": PORT}, "localhost", True),
        ({"namespace": "platform", "name": "gateway", "port": 443}, "localhost", False),
        ({"namespace": "platform", "name": "other"}, "localhost", False),
        ({"name": "gateway"}, "localhost", False),
        ({**PARENT, "sectionName": "https"}, "localhost", False),
        ({**PARENT, "kind": "Service"}, "localhost", False),
        ({**PARENT, "sectionName": "lab"}, "localhost", False),
        ({**PARENT, "sectionName": "lab"}, "a.lab.example", True),
    ],
)
def test_a_route_is_served_where_it_is_attached(parent: Json, host: str, is_met: bool) -> None:
    found = met([route("one", rule(path("/")), parent=parent, hostnames=[])], "/", host)
    assert found == ("one 0" if is_met else "")


def test_an_expression_that_is_wrong_matches_nothing() -> None:
    assert met([route("one", rule(path("/(", "RegularExpression")))], "/(") == ""


@pytest.mark.parametrize(
    ("prefix", "replaced", "given", "sent"),
    [
        # the table of HTTPPathModifier.replacePrefixMatch
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo", "/", "/foo/bar", "/bar"),
        ("/foo", "/", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/", "/xyz", "/bar", "/xyz/bar"),
    ],
)
def test_a_prefix_is_replaced(prefix: str, replaced: str, given: str, sent: str) -> None:
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": replaced}}
    filters = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    routes = [route("one", rule(path(prefix), filters=filters))]
    found = find_rule(GATEWAY, PORT, routes, RoutedRequest("localhost", given))
    assert found is not None and rewrite_path(given, found) == sent


def test_a_whole_path_is_replaced_and_one_without_a_filter_is_kept() -> None:
    rewrite = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/other"}}
    routes = [
        route("one", rule(path("/a"), filters=[{"type": "URLRewrite", "urlRewrite": rewrite}])),
        route("two", rule(path("/b"))),
    ]
    for given, sent in (("/a/x", "/other"), ("/b/x", "/b/x")):
        found = find_rule(GATEWAY, PORT, routes, RoutedRequest("localhost", given))
        assert found is not None and rewrite_path(given, found) == sent


def test_headers_are_set_added_and_removed() -> None:
    modifier = {
        "set": [{"name": "x-set", "value": "new"}],
        "add": [{"name": "X-Add", "value": "two"}, {"name": "X-More", "value": "one"}],
        "remove": ["X-Gone"],
    }
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}]
    routes = [route("one", rule(path("/"), filters=filters))]
    found = find_rule(GATEWAY, PORT, routes, RoutedRequest("localhost", "/"))
    assert found is not None
    given = {"X-Set": "old", "x-add": "one", "x-gone": "1", "Kept": "yes"}
    assert modify_headers(given, found) == {
        "Kept": "yes",
        "x-set": "new",
        "X-Add": "one,two",
        "X-More": "one",
    }
    assert modify_headers(given, found, "responseHeaderModifier") == given


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("/v[12]/.*", "/v2/models", True),
        (r"/a\+b\(c\)\*", "/a+b(c)*", True),
        ("/[a-z(+*{]+", "/a(+b", True),
        ("/(a|b)c?", "/bc", True),
        ("/(a+)+$", "/" + 60 * "a" + "!", False),
        ("/((a)*)*", "/" + 60 * "a" + "!", False),
        ("/" + 40 * "a?" + 40 * "a", "/" + 40 * "a", False),
        ("/" + 20 * "a*" + "b", "/" + 60 * "a", False),
        ("/.*", "/" + 2000 * "a", False),
        ("/a{99999999999}", "/a", False),
    ],
)
def test_a_regular_expression_that_could_take_long_matches_nothing(
    pattern: str, value: str, matches: bool
) -> None:
    found = met([route("one", rule(path(pattern, "RegularExpression")))], value)
    assert bool(found) is matches
