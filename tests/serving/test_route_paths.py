"""The URL of an endpoint is what a client writes before the paths of the server's API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.fleet.index import ingress_backends
from servedeck.fleet.views import NamespacedName
from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.objects.records import HTTPRoute, Ingress, VirtualService
from servedeck.serving.route_paths import literal_prefix
from tests.serving.factories import deployment, http_route, ingress, service

LLAMA = deployment(
    {"name": "vllm", "command": ["vllm", "serve", "org/m"], "ports": [{"containerPort": 8000}]}
)
HOST = "https://ai.example.com"


def resolve(
    *routes: HTTPRoute | VirtualService | Ingress, host: str = "", command: tuple[str, ...] = ()
) -> Endpoint:
    target = deployment({"name": "server", "command": command}) if command else LLAMA
    return resolve_endpoint(
        target,
        [service()],
        [one for one in routes if isinstance(one, HTTPRoute)],
        [one for one in routes if isinstance(one, VirtualService)],
        [one for one in routes if isinstance(one, Ingress)],
        host,
    )


def rule(*paths: str, type: str = "PathPrefix", replaced: str | None = None) -> dict[str, Any]:
    """One that sends these paths to the Service llama, with the prefix replaced if it is given."""
    found: dict[str, Any] = {
        "matches": [{"path": {"type": type, "value": one}} for one in paths],
        "backendRefs": [{"name": "llama", "port": 80}],
    }
    if replaced is not None:
        path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": replaced}
        found["filters"] = [{"type": "URLRewrite", "urlRewrite": {"path": path}}]
    return found


def istio(*rules: dict[str, Any], hosts: tuple[str, ...] = ("ai.example.com",)) -> VirtualService:
    gateways = ["istio-system/public"] if hosts else []
    spec = {"hosts": hosts, "gateways": gateways, "http": rules}
    return msgspec.convert(
        {"metadata": {"name": "llama", "namespace": "team-a"}, "spec": spec}, VirtualService
    )


def nginx(path: str, rewrite: str | None = None, type: str = "Prefix") -> Ingress:
    whole = msgspec.to_builtins(ingress(path, path_type=type))
    if rewrite is not None:
        name = "nginx.ingress.kubernetes.io/rewrite-target"
        whole["metadata"]["annotations"] = {name: rewrite}
    return msgspec.convert(whole, Ingress)


@pytest.mark.parametrize(
    ("found", "path"),
    [
        (rule("/v1"), ""),
        (rule("/v1/"), ""),
        (rule("/v1/chat/completions", type="Exact"), ""),
        (rule("/v1/chat/completions", "/v1/models", "/health"), ""),
        (rule("/v1/.*", type="RegularExpression"), ""),
        (rule("/llama/v1", replaced="/v1"), "/llama"),
        (rule("/llama/v1", replaced="/v1/"), "/llama"),
        (rule("/llama/v1", replaced="/"), "/llama/v1"),
        (rule("/v1", replaced="/"), "/v1"),
        (rule("/llama", replaced="/"), "/llama"),
        (rule("/llama/v1"), "/llama"),  # a server with --root-path
        (rule("/v10"), "/v10"),
        (rule("/llama/.*", type="RegularExpression"), "/llama"),
        (rule("/team-a/llama"), "/team-a/llama"),
    ],
)
def test_the_paths_of_an_http_route(found: dict[str, Any], path: str) -> None:
    endpoint = resolve(http_route(found))
    assert (endpoint.url, endpoint.issue) == (HOST + path, "")


def test_the_usual_path_of_a_serving_is_none_of_its_api() -> None:
    target = deployment(
        {"name": "vllm", "command": ["vllm", "serve", "org/m"]}, name="v1", namespace="team-a"
    )
    route = http_route(rule("/team-a/v1"))
    found = resolve_endpoint(target, [service()], [route], [], [], "")
    assert found.url == f"{HOST}/team-a/v1"


@pytest.mark.parametrize(
    ("command", "paths", "url", "issue"),
    [
        (("vllm", "serve", "org/m"), ("/health",), "", "/health"),
        (("vllm", "serve", "org/m"), ("/v1/models",), "", "/v1/models"),
        (("text-embeddings-router", "--model-id", "BAAI/bge-m3"), ("/v1/embeddings",), "", ""),
        (("tritonserver",), ("/v2",), "", ""),
        (("tritonserver",), ("/v2/models",), "", "/v2/models"),
        (("acme",), ("/v1",), "/v1", ""),
    ],
)
def test_the_paths_are_those_of_the_server(
    command: tuple[str, ...], paths: tuple[str, ...], url: str, issue: str
) -> None:
    found = resolve(http_route(rule(*paths)), command=command)
    text = f"HTTPRoute team-a/llama routes {issue} only" if issue else ""
    assert (found.url, found.issue) == (HOST + url, text)


@pytest.mark.parametrize(
    "match",
    [
        {"method": "GET"},
        {"method": "OPTIONS"},
        {"queryParams": [{"name": "debug", "value": "1"}]},
        {"headers": [{"name": "x", "value": "1"}]},
    ],
)
def test_a_route_for_all_requests_is_preferred(match: dict[str, Any]) -> None:
    some = rule("/a")
    some["matches"][0] |= match
    assert resolve(http_route(some, rule("/z"))).url == f"{HOST}/z"
    assert resolve(http_route(some)).url == f"{HOST}/a"
    posted = rule("/a")
    posted["matches"][0]["method"] = "POST"
    assert resolve(http_route(posted, rule("/z"))).url == f"{HOST}/a"


def test_a_backend_without_a_share_says_so() -> None:
    other = {"name": "other", "port": 80, "weight": 100}
    weightless = rule("/a")
    weightless["backendRefs"][0]["weight"] = 0
    weightless["backendRefs"].append(other)
    found = resolve(http_route(weightless))
    issue = "HTTPRoute team-a/llama sends it no requests: its weight is 0"
    assert (found.url, found.issue) == (f"{HOST}/a", issue)
    shared = rule("/z")
    shared["backendRefs"].append(other)
    assert resolve(http_route(weightless, shared)).url == f"{HOST}/z"


DESTINATION: dict[str, Any] = {"destination": {"host": "llama", "port": {"number": 80}}}


@pytest.mark.parametrize(
    ("uri", "rewrite", "path"),
    [
        ({"prefix": "/v1/"}, {}, ""),
        ({"prefix": "/llama/"}, {"uri": "/"}, "/llama"),
        ({"prefix": "/llama/v1/"}, {"uri": "/v1/"}, "/llama"),
        ({"prefix": "/v1/"}, {"uri": "/"}, "/v1"),
        ({"regex": "/llama/.*"}, {}, "/llama"),
        ({"regex": "/v1/.*"}, {"uriRegexRewrite": {"match": "/v1/(.*)", "rewrite": r"/\1"}}, "/v1"),
    ],
)
def test_the_paths_of_a_virtual_service(
    uri: dict[str, str], rewrite: dict[str, Any], path: str
) -> None:
    one = {"match": [{"uri": uri}], "rewrite": rewrite, "route": [DESTINATION]}
    found = resolve(istio(one))
    assert (found.url, found.issue) == (HOST + path, "")


@pytest.mark.parametrize(
    ("weights", "has_share"), [((0, 100), False), ((None, 100), False), ((1, 99), True)]
)
def test_the_weights_of_a_virtual_service(weights: tuple[int | None, int], has_share: bool) -> None:
    own = {**DESTINATION, **({} if weights[0] is None else {"weight": weights[0]})}
    other = {"destination": {"host": "other"}, "weight": weights[1]}
    found = resolve(istio({"route": [own, other]}))
    assert ("its weight is 0" in found.issue) != has_share
    assert resolve(istio({"route": [own]})).issue == ""


def test_a_virtual_service_of_a_delegation_says_that_another_one_decides() -> None:
    found = resolve(istio({"route": [DESTINATION]}, hosts=()))
    assert found.issue == (
        "VirtualService team-a/llama has no hosts: it applies where another VirtualService "
        "delegates to it"
    )


@pytest.mark.parametrize(
    ("path", "rewrite", "url"),
    [
        ("/llama(/|$)(.*)", "/$2", "/llama"),
        ("/llama/?(.*)", "/$1", "/llama"),
        ("/llama/.*", None, "/llama"),
        ("/.*", None, ""),
        ("/*", None, ""),
        ("/llama/*", None, "/llama"),
        ("/llama*", None, "/llama"),
        ("/v1/(.*)", None, ""),
        ("/v1(/|$)(.*)", "/$2", "/v1"),
        ("/llama/v1(/|$)(.*)", "/v1/$2", "/llama"),
        ("/v1", None, ""),
        ("/v1", "/", "/v1"),
        ("/models/llama-3.1-8b", None, "/models/llama-3.1-8b"),
    ],
)
def test_the_paths_of_an_ingress(path: str, rewrite: str | None, url: str) -> None:
    types = ["Prefix", "ImplementationSpecific"]
    assert {resolve(nginx(path, rewrite, one)).url for one in types} == {HOST + url}


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        (r"/llama-3\.1/(.*)", "/llama-3.1"),
        ("/llama-3.1/(.*)", "/llama-3.1"),
        ("^/llama(/.*)?$", "/llama"),
        ("/(?i)llama/(.*)", "/llama"),
        ("(?i)/llama/(.*)", "/llama"),
        ("/llamas?/(.*)", "/llama"),
        ("/llama.+", "/llama"),
        (r"/m/\d+", "/m"),
        ("/m/[a-z]+", "/m"),
        ("/a{2}", ""),
        ("", ""),
        ("\\", ""),
    ],
)
def test_what_all_paths_of_a_pattern_begin_with(pattern: str, prefix: str) -> None:
    assert literal_prefix(pattern) == prefix


@given(st.text(alphabet="/a.*+?()[]{}\\$^|i:1", max_size=20))
def test_a_prefix_is_a_path_without_the_syntax_of_patterns(pattern: str) -> None:
    found = literal_prefix(pattern)
    assert found == "" or (found[0] == "/" and found[-1] != "/")


def whole_ingress(spec: dict[str, Any], *addresses: dict[str, str]) -> Ingress:
    return msgspec.convert(
        {
            "metadata": {"name": "llama", "namespace": "team-a"},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": addresses}},
        },
        Ingress,
    )


DEFAULT = {"defaultBackend": {"service": {"name": "llama", "port": {"number": 80}}}}


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ({"hostname": "k8s-a.elb.example.com"}, "http://k8s-a.elb.example.com"),
        ({"ip": "192.0.2.1"}, "http://192.0.2.1"),
        ({"ip": "2001:db8::1"}, "http://[2001:db8::1]"),
        ({"hostname": "a;b"}, ""),
    ],
)
def test_the_default_backend_of_an_ingress_and_the_address_of_its_controller(
    address: dict[str, str], url: str
) -> None:
    found = whole_ingress(DEFAULT, address)
    assert resolve(found).url == url
    assert resolve(found, host="ai.example.com").url == "http://ai.example.com"
    assert list(ingress_backends(found)) == [NamespacedName("team-a", "llama")]
    assert "has no host; set endpoint_host" in resolve(whole_ingress(DEFAULT)).issue
    with_tls = whole_ingress({**DEFAULT, "tls": [{"secretName": "c"}]}, address)
    assert resolve(with_tls).url == url.replace("http:", "https:")
    paths = [{"path": "/llama", "backend": DEFAULT["defaultBackend"]}]
    hostless = whole_ingress({"rules": [{"http": {"paths": paths}}]}, address)
    assert resolve(hostless).url == (url and f"{url}/llama")


@pytest.mark.parametrize(
    "match", [{"method": {"exact": "GET"}}, {"queryParams": {"debug": {"exact": "1"}}}]
)
def test_a_rule_of_a_virtual_service_for_all_requests_is_preferred(match: dict[str, Any]) -> None:
    some = {"match": [{"uri": {"prefix": "/a"}, **match}], "route": [DESTINATION]}
    all_of_them = {"match": [{"uri": {"prefix": "/z"}}], "route": [DESTINATION]}
    assert resolve(istio(some, all_of_them)).url == f"{HOST}/z"
    assert resolve(istio(some)).url == f"{HOST}/a"
