from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.client_examples import (
    api_paths,
    curl_command,
    port_forward_command,
    primary_api_path,
)
from servedeck.serving.endpoint import Endpoint, resolve_endpoint
from servedeck.serving.objects.records import (
    Deployment,
    HTTPRoute,
    Ingress,
    Service,
    VirtualService,
)
from tests.serving.factories import (
    deployment,
    http_route,
    http_route_rule,
    ingress,
    service,
    virtual_service,
)

LLAMA = deployment(
    {"name": "inference-server", "command": ["vllm", "serve", "m"], "ports": [{"containerPort": 8}]}
)
URL = "https://ai.example.com/team-a/llama"


def resolve(
    *objects: HTTPRoute | VirtualService | Ingress,
    services: Sequence[Service] | None = None,
    host: str = "",
    target: Deployment = LLAMA,
) -> Endpoint:
    return resolve_endpoint(
        target,
        [service()] if services is None else services,
        [each for each in objects if isinstance(each, HTTPRoute)],
        [each for each in objects if isinstance(each, VirtualService)],
        [each for each in objects if isinstance(each, Ingress)],
        host,
    )


def test_an_http_route() -> None:
    assert resolve(http_route(http_route_rule())) == Endpoint(
        url=URL,
        source="HTTPRoute team-a/llama",
        issue="",
        cluster_url="http://llama.team-a.svc:80",
        service_name="llama",
        port=80,
        model="m",
        port_forward_command="kubectl port-forward -n team-a service/llama 8080:80",
        proxy_path="/api/v1/namespaces/team-a/services/http:llama:80/proxy",
        pod_port=8,
    )


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://127.0.0.1:8001"),
        ({"cluster_url": "https://llama.team-a.svc:443"}, "https://127.0.0.1:8001"),
        ({"is_grpc": True}, "127.0.0.1:8001"),
    ],
)
def test_the_url_of_a_forwarded_port(fields: dict[str, Any], url: str) -> None:
    assert Endpoint(**fields).local_url("127.0.0.1", 8001) == url
    assert Endpoint().local_url("::1", 8001) == "http://[::1]:8001"


@pytest.mark.parametrize(
    ("matches", "url"),
    [
        (({"uri": {"prefix": "/team-a/llama/"}}, {"uri": {"exact": "/team-a/llama"}}), URL),
        (({"uri": {"regex": "^/team-a/llama(/.*)?$"}},), URL),
        ((), "https://ai.example.com"),
    ],
)
def test_a_virtual_service(matches: tuple[dict[str, object], ...], url: str) -> None:
    found = resolve(virtual_service(*matches))
    assert (found.url, found.source) == (url, "VirtualService team-a/llama")


@pytest.mark.parametrize(
    ("host", "namespace", "leads"),
    [
        ("llama", "team-a", True),
        ("llama", "team-b", False),
        ("llama.team-a", "team-b", True),
        ("llama.team-a.svc", "team-b", True),
        ("llama.team-a.svc.corp.local", "team-b", True),
        ("llama.team-b.svc.cluster.local", "team-a", False),
        ("llama.team-a.example.com", "team-a", False),
        ("", "team-a", False),
    ],
)
def test_a_virtual_service_names_its_service_in_many_ways(
    host: str, namespace: str, leads: bool
) -> None:
    found = resolve(virtual_service(host=host, namespace=namespace))
    assert bool(found.url) == leads


@pytest.mark.parametrize("gateways", [(), ("mesh",)])
def test_a_virtual_service_of_the_mesh_says_that_it_is_inside(gateways: tuple[str, ...]) -> None:
    found = resolve(virtual_service(gateways=gateways))
    assert "inside the mesh only" in found.issue


def test_an_ingress() -> None:
    found = resolve(ingress())
    assert (found.url, found.source) == (URL, "Ingress team-a/llama")
    assert resolve(ingress(tls=())).url == "http://ai.example.com/team-a/llama"
    assert resolve(ingress(tls=({"hosts": ["*.example.com"]},))).url == URL
    assert resolve(ingress("/team-a/llama(/|$)(.*)", path_type="ImplementationSpecific")).url == URL


def test_an_ingress_may_name_the_port() -> None:
    ports = ({"name": "metrics", "port": 9000}, {"name": "api", "port": 8000})
    found = resolve(ingress(port={"name": "api"}), services=[service(ports=ports)])
    assert found.cluster_url == "http://llama.team-a.svc:8000"


def test_the_kinds_are_tried_in_order_but_one_that_works_comes_first() -> None:
    everything = (ingress(), virtual_service(), http_route(http_route_rule()))
    assert resolve(*everything).source == "HTTPRoute team-a/llama"
    assert resolve(*everything[:2]).source == "VirtualService team-a/llama"
    rejected = http_route(http_route_rule(), status={})
    assert resolve(ingress(), rejected).source == "Ingress team-a/llama"


def test_of_several_routes_the_plain_one_with_the_usual_path_is_shown() -> None:
    header = ({"name": "x-async", "value": "true"},)
    several = http_route(
        http_route_rule("/team-a/llama", headers=header),
        http_route_rule("/v2"),
        http_route_rule(),
        http_route_rule("/a"),
        http_route_rule(backend="other"),
    )
    assert resolve(several).url == URL
    conditional = http_route(http_route_rule(headers=header), http_route_rule("/v2"))
    assert resolve(conditional).url == "https://ai.example.com/v2"
    assert (
        resolve(http_route(http_route_rule("/models/llama/"))).url
        == "https://ai.example.com/models/llama"
    )
    assert resolve(http_route(http_route_rule("/"))).url == "https://ai.example.com"
    assert resolve(http_route({"backendRefs": [{"name": "llama"}]})).url == "https://ai.example.com"


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("/t/$(id);x&y", "/t/%24%28id%29%3Bx%26y"),
        ("/a`b`/'c'\"d\"", "/a%60b%60/%27c%27%22d%22"),
        ("/모델", "/%EB%AA%A8%EB%8D%B8"),
        ("/a%20b", "/a%20b"),
        ("/v1/models@2+x=1,y:~z", "/v1/models@2+x=1,y:~z"),
    ],
)
def test_what_may_not_stand_in_a_url_is_encoded(path: str, encoded: str) -> None:
    assert resolve(http_route(http_route_rule(path))).url == f"https://ai.example.com{encoded}"


@pytest.mark.parametrize("host", ["a;$(id).example.com", "a b", "x/y", "a@b", "-e\nx", "é.example"])
def test_what_is_no_host_is_not_part_of_a_url(host: str) -> None:
    assert not resolve(http_route(http_route_rule(), hostnames=(host,))).url
    both = http_route(http_route_rule(), hostnames=(host, "ai.example.com"))
    assert resolve(both).url == URL
    elsewhere = resolve(http_route(http_route_rule(), hostnames=(host,)), host="ai.example.com")
    assert not elsewhere.url and elsewhere.issue.endswith("has no host name that a URL can have")


@pytest.mark.parametrize("host", ["a;$(id).example.com", "a b", "a@b", "a\nb", "*.example.com"])
def test_a_setting_that_is_no_host_is_not_part_of_a_url(host: str) -> None:
    found = resolve(http_route(http_route_rule(), hostnames=()), host=host)
    assert (found.url, found.issue) == ("", "endpoint_host in the settings is no host name")


@pytest.mark.parametrize("host", ["ai.example.com:8443", "ai.example.com/base", "münchen.example"])
def test_the_host_of_the_settings(host: str) -> None:
    found = resolve(http_route(http_route_rule(), hostnames=()), host=host)
    assert found.url == f"https://{host}/team-a/llama"


def test_a_route_of_another_namespace_leads_here_where_it_says_so() -> None:
    shared = http_route(http_route_rule(namespace="team-a"), namespace="gateways")
    assert resolve(shared).source == "HTTPRoute gateways/llama"
    assert not resolve(http_route(http_route_rule(), namespace="gateways")).url
    assert not resolve(http_route(http_route_rule(kind="InferencePool"))).url


def test_a_route_that_is_not_accepted_says_why() -> None:
    def of(*conditions: dict[str, str]) -> Endpoint:
        return resolve(
            http_route(http_route_rule(), status={"parents": [{"conditions": conditions}]})
        )

    rejected = {
        "type": "Accepted",
        "status": "False",
        "reason": "NotAllowedByListeners",
        "message": "namespace team-a may not attach",
    }
    found = of(rejected)
    assert found.url == URL
    assert found.issue == (
        "HTTPRoute team-a/llama is not accepted: namespace team-a may not attach"
    )
    broken = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"}
    accepted = {"type": "Accepted", "status": "True"}
    assert of(accepted, broken).issue == (
        "HTTPRoute team-a/llama has an unresolved reference: BackendNotFound"
    )
    assert of().issue == "HTTPRoute team-a/llama has not been accepted by a Gateway yet"
    one_of_two = {"parents": [{"conditions": [rejected]}, {"conditions": [accepted]}]}
    assert resolve(http_route(http_route_rule(), status=one_of_two)).issue == ""


@pytest.mark.parametrize(
    ("hostnames", "default", "url"),
    [
        ((), "gw.example.com", "https://gw.example.com/team-a/llama"),
        (("*.example.com",), "gw.example.com", "https://gw.example.com/team-a/llama"),
        (("*",), "gw.example.com", "https://gw.example.com/team-a/llama"),
        (("*.example.com", "ai.example.com"), "gw.example.com", URL),
        (("*.example.com",), "gw.other.com", ""),
        (("*.example.com",), "", ""),
        ((), "", ""),
    ],
)
def test_the_settings_host_stands_in_for_none_and_for_a_wildcard_it_matches(
    hostnames: tuple[str, ...], default: str, url: str
) -> None:
    found = resolve(http_route(http_route_rule(), hostnames=hostnames), host=default)
    assert found.url == url
    assert ("settings" in found.issue) == (not url)


def test_without_a_route_the_port_forward_line_helps() -> None:
    found = resolve()
    assert found.url == ""
    assert found.issue == ("No HTTPRoute, VirtualService or Ingress routes to Service team-a/llama")
    assert found.port_forward_command == "kubectl port-forward -n team-a service/llama 8080:80"


def test_without_a_service_the_deployment_is_forwarded() -> None:
    found = resolve(http_route(http_route_rule()), services=[service(selector={"app": "other"})])
    assert (found.url, found.cluster_url, found.port) == ("", "", 0)
    assert found.issue.startswith("No Service selects the Pods of Deployment team-a/llama")
    assert found.port_forward_command == "kubectl port-forward -n team-a deployment/llama 8080:8"


def test_overlapping_services_the_one_of_the_same_name_then_the_most_specific() -> None:
    of = deployment(pod_labels={"app": "llama", "tier": "gpu"})
    wide = service("all", {"tier": "gpu"})
    narrow = service("narrow", {"app": "llama", "tier": "gpu"})
    same = service("llama", {"app": "llama"})
    elsewhere = service("llama", {"app": "llama"}, namespace="team-b")
    everyone = service("everyone", {})
    assert resolve(services=[wide, narrow, same], target=of).service_name == "llama"
    assert resolve(services=[wide, narrow, elsewhere], target=of).service_name == "narrow"
    assert resolve(services=[everyone], target=of).service_name == ""
    routed = resolve(http_route(http_route_rule(backend="all")), services=[same, wide], target=of)
    assert routed.service_name == "all"


def test_a_service_without_ports() -> None:
    found = resolve(services=[service(ports=())])
    assert (found.cluster_url, found.port) == ("http://llama.team-a.svc", 0)
    assert found.port_forward_command == "kubectl port-forward -n team-a deployment/llama 8080:8"


def test_the_async_curl_command() -> None:
    line = curl_command(URL, "/v1/chat/completions", "model-name", asynchronous=True)
    assert line == (
        f"curl -X POST '{URL}/v1/chat/completions' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        "  -H 'Authorization: Bearer <token>' \\\n"
        "  -H 'X-Async: true' \\\n"
        '  -d \'{"model": "model-name", "messages": [{"role": "user", "content": "Hello"}]}\''
    )
    assert "X-Async" not in curl_command(URL, "/v1/chat/completions", "m", asynchronous=False)


def test_paths_that_are_only_read_are_fetched() -> None:
    assert curl_command(f"{URL}/", "/v1/models", "m", asynchronous=False) == (
        f"curl '{URL}/v1/models' \\\n  -H 'Authorization: Bearer <token>'"
    )


@pytest.mark.parametrize("template", ["vllm", "furiosa-llm", "tgi", "custom"])
def test_every_path_gives_a_line_that_a_shell_reads(template: str) -> None:
    for path in api_paths(template):
        words = shlex.split(curl_command(URL, path, "m", asynchronous=True).replace("\\\n", " "))
        assert f"{URL}{path}" in words
        if "-d" in words:
            json.loads(words[words.index("-d") + 1])


@given(st.text(), st.text(max_size=9), st.text(min_size=1), st.text(min_size=1))
def test_nothing_in_a_name_escapes_its_quotes(
    model: str, path: str, namespace: str, name: str
) -> None:
    line = curl_command(f"https://{name}", f"/{path}/v1/completions", model, asynchronous=True)
    words = shlex.split(line.replace(" \\\n  ", " "))
    assert [words[0], words[1], words[2]] == ["curl", "-X", "POST"]
    assert [words[i] for i in (4, 6, 8, 10)] == ["-H", "-H", "-H", "-d"]
    assert len(words) == 12
    forwarded = shlex.split(port_forward_command((namespace, name), 8000))
    assert len(forwarded) == 6
    assert forwarded[-1] == "8000:8000"
    assert "\n" not in port_forward_command((namespace, name), 8000)


@pytest.mark.parametrize(
    ("template", "model", "path"),
    [
        ("vllm", "meta-llama/Llama-3.1-8B-Instruct", "/v1/chat/completions"),
        ("vllm", "BAAI/bge-m3", "/v1/embeddings"),
        ("vllm", "Qwen/Qwen3-Embedding-8B", "/v1/embeddings"),
        ("vllm", "intfloat/e5-mistral-7b-instruct", "/v1/embeddings"),
        ("vllm", "BAAI/bge-reranker-v2-m3", "/v1/chat/completions"),
        ("vllm", "mistralai/Mistral-7B", "/v1/chat/completions"),
        ("tei", "BAAI/bge-m3", "/v1/embeddings"),
        ("tei", "BAAI/bge-reranker-v2-m3", "/rerank"),
        ("custom", "", "/"),
    ],
)
def test_the_example_goes_where_such_a_model_answers(template: str, model: str, path: str) -> None:
    assert primary_api_path(template, model) == path


def test_the_paths_of_the_models_task_come_first_and_none_is_lost() -> None:
    chat = api_paths("tei")
    assert api_paths("tei", "org/anything") == chat
    assert api_paths("tei", "BAAI/bge-m3")[:2] == ("/v1/embeddings", "/embed")
    assert api_paths("tei", "BAAI/bge-reranker-base")[0] == "/rerank"
    assert sorted(api_paths("vllm", "intfloat/e5-mistral-7b")) == sorted(api_paths("vllm"))
    assert api_paths("vllm", "intfloat/e5-mistral-7b")[0] == "/v1/embeddings"
