"""The objects of the async gateway of one serving, and its settings as they are read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

import yaml

from servedeck.serving.async_limits import GATEWAY_MEMORY, LIMITS, MIB, AsyncQueueSettings
from servedeck.serving.conventions import ASYNC_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL
from servedeck.serving.objects.async_routes import GATEWAY_PORT, async_gateway_name
from servedeck.serving.settings_text import SettingsTextError, parse_settings_text
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str

CALLER_PORT, ADMIN_PORT, DELIVER_PORT = 8080, 8081, 8082
SETTINGS_KEY = "gateway.yaml"
"""Of the ConfigMap."""
VIEW_KEY = "view-key"
SECRET_KEYS = ("secret", "admin-key", VIEW_KEY)
"""Of the Secret: random, made once, and never changed while tasks are stored."""
VALKEY_PASSWORD_KEY = "valkey-password"  # noqa: S105 - the name of a key
SETTINGS_ANNOTATION = "servedeck.dev/settings"
"""Hash of the settings, on the Pods of the gateway: a gateway reads them when it starts, so that
other settings need other Pods."""
USER_ID = 65532
"""Of the image's user."""

_SETTINGS_PATH = "/etc/servedeck/gateway"
_SECRET_PATH = "/etc/servedeck/secret"  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncPlatform:
    """What the platform gives to all gateways."""

    image: str
    store: str
    """valkey://host:port of the Valkey that keeps the tasks."""
    has_password: bool = True
    """Whether the gateway's Secret has the password of Valkey."""
    replicas: int = 2
    public_path: str | None = None
    """Path of the endpoint, which the route removes; None for /namespace/name."""
    service: str = ""
    """name:port of the inference server's Service; port 80 of the serving's name for ""."""


def build_async_gateway(
    namespace: str,
    serving: str,
    platform: AsyncPlatform,
    settings: AsyncQueueSettings,
    *,
    other_settings: Mapping[str, Any] | None = None,
) -> list[JsonObject]:
    """The objects in the order to apply them. The Secret `<serving>-async` with SECRET_KEYS is not
    among them: it is made once, and only if it is not there. `other_settings` are those that
    somebody has added (`read_other_settings`)."""
    name = async_gateway_name(serving)
    selector = {
        "app.kubernetes.io/name": "servedeck-gateway",
        "app.kubernetes.io/instance": name,
    }
    labels = {
        **selector,
        "app.kubernetes.io/part-of": FIELD_MANAGER,
        MANAGED_BY_LABEL: FIELD_MANAGER,
        ASYNC_LABEL: serving,
    }

    def made(api_version: str, kind: str, body: JsonObject, suffix: str = "") -> JsonObject:
        metadata = {"name": name + suffix, "namespace": namespace, "labels": dict(labels)}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}

    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "Role", "name": name}
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    given = _gateway_settings(namespace, serving, platform, settings)
    text = yaml.safe_dump({**(other_settings or {}), **given}, sort_keys=False)
    deployment = _deployment(name, labels, selector, platform, text)
    return [
        made("v1", "ConfigMap", {"data": {SETTINGS_KEY: text}}),
        made("v1", "ServiceAccount", {}),
        made(f"{group}/v1", "Role", {"rules": _rules()}),
        made(f"{group}/v1", "RoleBinding", {"roleRef": role, "subjects": [account]}),
        made("apps/v1", "Deployment", {"spec": deployment}),
        made("v1", "Service", {"spec": _service(selector, "http", CALLER_PORT)}),
        made("v1", "Service", {"spec": _service(selector, "http-admin", ADMIN_PORT)}, "-admin"),
        made(
            "policy/v1",
            "PodDisruptionBudget",
            {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}}},
        ),
        made("networking.k8s.io/v1", "NetworkPolicy", {"spec": _network_policy(selector)}),
    ]


def read_async_settings(config_map: Mapping[str, Any]) -> AsyncQueueSettings:
    """The settings in a gateway's ConfigMap, whoever wrote them. What is missing has its default,
    and so has what cannot be read (`find_settings_problems`)."""
    loaded = load_settings(config_map)
    known: dict[str, Any] = {}
    for name, limit in LIMITS.items():
        if (value := limit.read(loaded.get(name))) is not None:
            known[name] = value
    return AsyncQueueSettings(**known)


def find_settings_problems(config_map: Mapping[str, Any]) -> dict[str, str]:
    """What cannot be read of the settings in a gateway's ConfigMap, a sentence each, by the name of
    the limit; by SETTINGS_KEY if none can be."""
    try:
        loaded = _parse(config_map)
    except SettingsTextError as error:
        return {SETTINGS_KEY: f"The settings in its ConfigMap cannot be read: {error}."}
    return {
        name: f"{limit.label} in its ConfigMap cannot be read: {name} must be {limit.stored_as}."
        for name, limit in LIMITS.items()
        if name in loaded and limit.read(loaded[name]) is None
    }


def read_other_settings(config_map: Mapping[str, Any]) -> JsonObject:
    """The settings in a gateway's ConfigMap that `build_async_gateway` does not make, such as the
    hosts of callbacks."""
    platform = AsyncPlatform(image="", store="")
    ours = _gateway_settings("", "", platform, AsyncQueueSettings())
    return {key: value for key, value in load_settings(config_map).items() if key not in ours}


def load_settings(config_map: Mapping[str, Any]) -> Mapping[str, Any]:
    """All settings in a gateway's ConfigMap; {} if they cannot be read."""
    try:
        return _parse(config_map)
    except SettingsTextError:
        return {}


def _parse(config_map: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises SettingsTextError."""
    return parse_settings_text(as_str(as_mapping(config_map, "data").get(SETTINGS_KEY)))


def _gateway_settings(
    namespace: str, serving: str, platform: AsyncPlatform, settings: AsyncQueueSettings
) -> JsonObject:
    found: JsonObject = {
        "serving": f"{namespace}/{serving}",
        "service": f"{namespace}/{platform.service or f'{serving}:{GATEWAY_PORT}'}",
        "store": platform.store,
        "public_path": f"/{namespace}/{serving}"
        if platform.public_path is None
        else platform.public_path,
        "secret_file": f"{_SECRET_PATH}/secret",
        "admin_key_file": f"{_SECRET_PATH}/admin-key",
        "view_key_file": f"{_SECRET_PATH}/view-key",
    }
    if platform.has_password:
        found["store_password_file"] = f"{_SECRET_PATH}/{VALKEY_PASSWORD_KEY}"
    return found | {one.name: getattr(settings, one.name) for one in fields(settings)}


def _rules() -> list[JsonObject]:
    """Which Pods of the inference server are Ready, and which of their ports the Service's is."""
    verbs = ["get", "list", "watch"]
    return [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
        {"apiGroups": [""], "resources": ["services"], "verbs": verbs},
    ]


def _deployment(
    name: str,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    platform: AsyncPlatform,
    settings: str,
) -> JsonObject:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }
    pod = {
        "serviceAccountName": name,
        # What runs is handed back within it.
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [spread],
        # Neither process waits for the work of the other.
        "containers": [
            _container("accept", platform.image, ADMIN_PORT, serves_callers=True),
            _container("deliver", platform.image, DELIVER_PORT, serves_callers=False),
        ],
        "volumes": [
            {"name": "settings", "configMap": {"name": name}},
            {"name": "secret", "secret": {"secretName": name}},
            # Large results on their way to the object store.
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(ADMIN_PORT),
        SETTINGS_ANNOTATION: sha256(settings.encode()).hexdigest()[:16],
    }
    return {
        "replicas": platform.replicas,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "selector": {"matchLabels": dict(selector)},
        "template": {
            "metadata": {"labels": dict(labels), "annotations": annotations},
            "spec": pod,
        },
    }


def _container(role: str, image: str, admin_port: int, *, serves_callers: bool) -> JsonObject:
    settings = f"{_SETTINGS_PATH}/{SETTINGS_KEY}"
    args = ["--config", settings, "--role", role, "--admin-port", str(admin_port)]
    ports = [{"name": f"{role}-admin", "containerPort": admin_port}]
    if serves_callers:
        ports.insert(0, {"name": "http", "containerPort": CALLER_PORT})

    def probe(path: str, seconds: int, failures: int) -> JsonObject:
        get = {"path": path, "port": f"{role}-admin"}
        return {"httpGet": get, "periodSeconds": seconds, "failureThreshold": failures}

    found: JsonObject = {
        "name": role,
        "image": image,
        "args": args,
        "ports": ports,
        "startupProbe": probe("/healthz", 2, 30),
        "livenessProbe": probe("/healthz", 10, 6),
        "resources": {
            "requests": {"cpu": "100m", "memory": "96Mi"},
            "limits": {"memory": f"{GATEWAY_MEMORY // MIB}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": _SETTINGS_PATH},
            {"name": "secret", "mountPath": _SECRET_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
        ],
    }
    if serves_callers:
        # A store that is away takes it out of the Service of callers, who get 503 anyway; it is no
        # reason to start it again.
        found["readinessProbe"] = probe("/readyz", 5, 3)
        # Until no proxy sends callers here any longer; then it gets SIGTERM.
        found["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
    return found


def _service(selector: Mapping[str, str], port_name: str, target: int) -> JsonObject:
    port = {"name": port_name, "port": GATEWAY_PORT, "targetPort": target}
    return {"selector": dict(selector), "ports": [port]}


def _network_policy(selector: Mapping[str, str]) -> JsonObject:
    """Callers come through the ingress gateway, from wherever that runs. The ports of operators are
    for Prometheus, KEDA and the API server's proxy, which comes from a node or from outside: many
    network plugins let that pass always; where one does not, its addresses are to be added."""
    namespaces = {
        "key": "kubernetes.io/metadata.name",
        "operator": "In",
        "values": ["monitoring", "keda", "kube-system"],
    }
    operators = {"namespaceSelector": {"matchExpressions": [namespaces]}}
    return {
        "podSelector": {"matchLabels": dict(selector)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"port": CALLER_PORT}]},
            {"from": [operators], "ports": [{"port": ADMIN_PORT}, {"port": DELIVER_PORT}]},
        ],
    }
