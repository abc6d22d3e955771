from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.objects import manifests
from servedeck.serving.objects.routes import PlatformSettings, RouteKind
from servedeck.serving.spec.mapping.volumes import pvc_volume_name
from servedeck.serving.spec.names import validate_label
from servedeck.serving.spec.spec import ServingSpec
from tests.serving.spec.test_validation import furiosa_spec, vllm_spec
from tests.serving.strategies import pvc_names, texts


def pod_spec(spec: Any, platform: PlatformSettings | None = None) -> Any:
    return manifests.build_manifests(spec, platform)[0]["spec"]["template"]["spec"]


def server_container(spec: Any) -> Any:
    return pod_spec(spec)["containers"][0]


def test_labels_are_on_every_object_and_pod_and_the_selector_is_the_name_alone() -> None:
    platform = PlatformSettings(host="h.example.com", gateway="g/main")
    objects = manifests.build_manifests(vllm_spec(), platform)
    labels = {
        "servedeck.dev/serving": "llm",
        "servedeck.dev/template": "vllm",
        "app.kubernetes.io/managed-by": "servedeck",
    }
    assert [one["kind"] for one in objects] == ["Deployment", "Service", "HTTPRoute"]
    assert all(one["metadata"]["labels"] == labels for one in objects)
    assert all(one["metadata"]["namespace"] == "team-a" for one in objects)
    body = objects[0]["spec"]
    assert body["template"]["metadata"]["labels"] == labels
    assert body["selector"] == {"matchLabels": {"servedeck.dev/serving": "llm"}}
    assert objects[1]["spec"]["selector"] == {"servedeck.dev/serving": "llm"}


def test_an_annotation_holds_the_description_and_nothing_else() -> None:
    assert "annotations" not in manifests.build_manifests(vllm_spec())[0]["metadata"]
    got = manifests.build_manifests(vllm_spec(description="for the chat"))[0]["metadata"][
        "annotations"
    ]
    assert got == {"servedeck.dev/description": "for the chat"}


def test_vllm_gets_shared_memory_a_startup_probe_and_no_service_links() -> None:
    spec = vllm_spec(accelerator_count=2, settings={"tensor_parallel_size": 2})
    assert pod_spec(spec)["enableServiceLinks"] is False
    assert {"name": "HF_HOME", "value": "/model-cache"} in server_container(spec)["env"]
    mounts = {one["mountPath"]: one["name"] for one in server_container(spec)["volumeMounts"]}
    assert mounts == {"/model-cache": "model-cache", "/dev/shm": "dshm"}
    shared = {one["name"]: one for one in pod_spec(spec)["volumes"]}["dshm"]["emptyDir"]
    assert shared == {"medium": "Memory", "sizeLimit": "2Gi"}
    startup = server_container(spec)["startupProbe"]
    assert startup["httpGet"]["path"] == "/health"
    assert startup["periodSeconds"] * startup["failureThreshold"] == 30 * 60
    deadline = manifests.build_manifests(spec)[0]["spec"]["progressDeadlineSeconds"]
    assert deadline > startup["periodSeconds"] * startup["failureThreshold"]


def test_resources() -> None:
    got = server_container(vllm_spec(cpu="4", memory="32Gi", accelerator_count=2))["resources"]
    fixed = {"memory": "32Gi", "nvidia.com/gpu": "2"}
    assert got == {"requests": {"cpu": "4", **fixed}, "limits": fixed}
    assert server_container(vllm_spec(accelerator=""))["resources"]["limits"] == {"memory": "16Gi"}


def test_the_furiosa_pod_is_as_the_vendor_asks() -> None:
    got = server_container(furiosa_spec())
    assert got["resources"]["limits"]["furiosa.ai/rngd"] == "1"
    assert got["resources"]["requests"]["furiosa.ai/rngd"] == "1"
    assert got["securityContext"] == {
        "seccompProfile": {"type": "Unconfined"},
        "capabilities": {"drop": ["ALL"]},
    }
    assert "securityContext" not in server_container(vllm_spec())


def test_manifests_share_nothing_with_the_template() -> None:
    server_container(furiosa_spec())["securityContext"]["capabilities"]["drop"].append("x")
    assert server_container(furiosa_spec())["securityContext"]["capabilities"]["drop"] == ["ALL"]


@pytest.mark.parametrize(
    ("accelerator", "key"),
    [
        ("nvidia.com/gpu", "nvidia.com/gpu"),
        ("nvidia.com/mig-1g.10gb", "nvidia.com/gpu"),
        ("amd.com/gpu", "amd.com/gpu"),
    ],
)
def test_the_taint_of_accelerator_nodes_is_tolerated(accelerator: str, key: str) -> None:
    wanted = [{"key": key, "operator": "Exists", "effect": "NoSchedule"}]
    assert pod_spec(vllm_spec(accelerator=accelerator))["tolerations"] == wanted
    assert "tolerations" not in pod_spec(vllm_spec(accelerator=""))


def test_a_custom_server_without_paths_has_no_probes() -> None:
    spec = ServingSpec(name="a", namespace="p", template="custom", image="i")
    assert not {"startupProbe", "readinessProbe", "livenessProbe"} & set(server_container(spec))
    probed = server_container(spec.replace(liveness_path="/live"))
    assert probed["livenessProbe"]["httpGet"]["path"] == "/live"
    # Without a startup probe, the liveness probe would kill the server while it loads.
    assert probed["startupProbe"]["httpGet"]["path"] == "/live"
    assert "readinessProbe" not in probed


def test_requests_pass_the_transformer_first() -> None:
    spec = vllm_spec(
        transformer={"image": "t:1", "port": 8081, "command": "run", "env": [{"name": "A"}]}
    )
    main, transformer = pod_spec(spec)["containers"]
    assert (main["name"], transformer["name"]) == ("inference-server", "transformer")
    assert transformer["env"] == [
        {"name": "PREDICTOR_URL", "value": "http://127.0.0.1:8000"},
        {"name": "A", "value": ""},
    ]
    (port,) = manifests.build_manifests(spec)[1]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "transformer")
    assert transformer["ports"][0] == {
        "name": "transformer",
        "containerPort": 8081,
        "protocol": "TCP",
    }
    (port,) = manifests.build_manifests(vllm_spec())[1]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, "http")


def test_variables_and_volumes() -> None:
    spec = vllm_spec(
        env=[
            {"name": "A", "value": "1"},
            {"name": "B", "secret": {"name": "s", "key": "k"}},
            {"name": "C", "config_map": {"name": "c", "key": "k"}},
        ],
        volumes=[
            {"pvc": "data", "mount_path": "/a", "read_only": True},
            {"pvc": "data", "mount_path": "/b"},
        ],
    )
    assert server_container(spec)["env"][5:] == [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ]
    assert server_container(spec)["volumeMounts"][2:] == [
        {"name": "data", "mountPath": "/a", "readOnly": True},
        {"name": "data", "mountPath": "/b", "readOnly": False},
    ]
    assert pod_spec(spec)["volumes"][2:] == [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    ]


def test_the_model_cache_is_the_platform_s_claim_or_an_empty_directory() -> None:
    cache = {"name": "model-cache", "persistentVolumeClaim": {"claimName": "models"}}
    assert pod_spec(vllm_spec(), PlatformSettings(model_cache="models"))["volumes"][0] == cache
    assert pod_spec(vllm_spec())["volumes"][0] == {"name": "model-cache", "emptyDir": {}}
    shown = manifests.system_volumes(vllm_spec(), PlatformSettings(model_cache="models"))
    assert [(one.name, one.mount_path) for one in shown] == [
        ("model-cache", "/model-cache"),
        ("dshm", "/dev/shm"),
    ]


@given(pvc_names, pvc_names)
def test_volume_names_are_valid_and_differ_where_the_claims_do(one: str, other: str) -> None:
    assert validate_label(pvc_volume_name(one)) == ""
    assert pvc_volume_name(one) not in ("model-cache", "dshm")
    assert (pvc_volume_name(one) == pvc_volume_name(other)) == (one == other)


@given(texts, st.sampled_from(["", "\\ud83d\\ude00", "😀", "\\", "\x7f\x85\u2028\ufffe\0"]))
def test_the_body_of_an_apply_is_json_and_yaml_alike(text: str, more: str) -> None:
    body = manifests.encode_manifest({"a": text + more})
    assert json.loads(body) == {"a": text + more}
    if "\0" not in text + more:
        assert yaml.safe_load(body) == {"a": text + more}


# -- routes ---------------------------------------------------------------------------------------


def route_manifest(kind: RouteKind, **changes: Any) -> Any:
    platform = PlatformSettings(host="h.example.com", route=kind, gateway="gw/main", **changes)
    return manifests.build_manifests(vllm_spec(), platform)[2]


def test_http_route() -> None:
    assert route_manifest(RouteKind.HTTP_ROUTE)["spec"] == {
        "parentRefs": [{"name": "main", "namespace": "gw"}],
        "hostnames": ["h.example.com"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/team-a/llm"}}],
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {
                            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
                        },
                    }
                ],
                "timeouts": {"request": "0s", "backendRequest": "0s"},
                "backendRefs": [{"name": "llm", "port": 80}],
            }
        ],
    }


def test_a_virtual_service_does_not_match_a_path_with_the_same_prefix() -> None:
    spec = route_manifest(RouteKind.VIRTUAL_SERVICE)["spec"]
    assert spec["gateways"] == ["gw/main"]
    (rule,) = spec["http"]
    assert rule["match"] == [
        {"uri": {"prefix": "/team-a/llm/"}},
        {"uri": {"exact": "/team-a/llm"}},
    ]
    assert (rule["rewrite"], rule["timeout"]) == ({"uri": "/"}, "0s")
    assert rule["retries"] == {"attempts": 0}
    assert rule["route"][0]["destination"] == {
        "host": "llm.team-a.svc.cluster.local",
        "port": {"number": 80},
    }


def test_ingress_of_nginx_and_of_another_controller() -> None:
    nginx = route_manifest(RouteKind.INGRESS, ingress_class="nginx", tls_secret="cert")
    assert nginx["spec"]["ingressClassName"] == "nginx"
    assert nginx["spec"]["tls"] == [{"hosts": ["h.example.com"], "secretName": "cert"}]
    (path,) = nginx["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/team-a/llm(/|$)(.*)", "ImplementationSpecific")
    annotations = nginx["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/rewrite-target"] == "/$2"
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    other = route_manifest(RouteKind.INGRESS, ingress_annotations={"x/rewrite": "/"})
    assert other["metadata"]["annotations"] == {"x/rewrite": "/"}
    (path,) = other["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/team-a/llm", "Prefix")


@pytest.mark.parametrize(
    ("host", "gateway", "says"),
    [
        ("h.example.com", "", "No gateway is set"),
        ("h.example.com", "main", "not namespace/name"),
        ("h_h", "a/b", "host"),
    ],
)
def test_settings_that_make_no_route_say_why_and_leave_the_rest_as_it_is(
    host: str, gateway: str, says: str
) -> None:
    platform = PlatformSettings(host=host, gateway=gateway)
    assert says in platform.issue
    assert manifests.build_manifests(vllm_spec(), platform) == manifests.build_manifests(
        vllm_spec(), PlatformSettings()
    )
