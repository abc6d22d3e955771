"""The address of a Service in the cluster, and outside of it for a load balancer.

A Service port leads to a port of the Pods; the one that receives requests is the inference
server's, or that of a container in front of it.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

from servedeck.serving.conventions import TRANSFORMER_CONTAINER
from servedeck.serving.objects.detection import DetectedServer
from servedeck.serving.objects.records import (
    Container,
    InitContainer,
    PodTemplate,
    Service,
    ServicePort,
)
from servedeck.serving.port_number import parse_port_number
from servedeck.serving.servers.settings import METRICS_PORT_NAMES, flag_value
from servedeck.serving.text import one_line

_TRANSFORMERS = (TRANSFORMER_CONTAINER, "transformer-container")
_GRPC_NAMES = ("grpc", "h2c")
_GRPC_PROTOCOLS = ("grpc", "kubernetes.io/h2c")
_SERVER_PORT_FLAGS = ("--vllm-port", "--decoder-port")
"""Flags of llm-d's routing sidecar for the port of the server behind it (llm-d-routing-sidecar,
cmd/llm-d-routing-sidecar/main.go)."""
_ROUTING_SIDECAR_PORT = 8000


_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]", re.ASCII)


def is_host(text: str) -> bool:
    """Whether it is a DNS name or an address, an IPv6 one in brackets: what else somebody writes
    there is not for a URL, still less for a line that a shell runs."""
    return _HOST.fullmatch(text) is not None


class ServiceAddress(NamedTuple):
    port: int
    """The port that a client connects to: the Service's, or the Pods' for a headless Service; 0 if
    the Service has none."""
    scheme: str
    """"http", "https", or "" for gRPC."""
    leads_to_server: bool
    """Whether requests arrive at the inference server or what is in front of it."""
    node_port: int
    """Port of every node, 0 for none."""
    service_port: int = 0
    """The Service's own port: kubectl and the API server's proxy know no other; 0 for none."""
    pod_port: int = 0
    """Port of the Pods at which its requests arrive: the entry port, or that of another container,
    such as a proxy, which is taken to forward them; 0 if unknown."""

    @property
    def is_grpc(self) -> bool:
        return not self.scheme


def entry_port(template: PodTemplate, server: DetectedServer) -> int:
    """The port of the Pods that requests must go to: that of a transformer or of llm-d's routing
    sidecar, which forward them to the inference server, or else the server's own."""
    for one in _long_running_containers(template):
        if one.name in _TRANSFORMERS and one is not server.container and one.ports:
            return one.ports[0].container_port
        words = (*one.command, *one.args)
        if one is not server.container and flag_value(words, _SERVER_PORT_FLAGS):
            written = flag_value(words, ("--port",))
            if number := parse_port_number(written):
                return number
            return one.ports[0].container_port if one.ports else _ROUTING_SIDECAR_PORT
    return server.port


def find_service_address(
    service: Service, template: PodTemplate, server: DetectedServer, port: int = 0
) -> ServiceAddress:
    """How a client reaches the Pods through a Service: at `port` if the Service has it, else at the
    port that leads to the server, or the usual one for HTTP if none does."""
    usable = tcp_ports(service)
    if not usable:
        return ServiceAddress(0, "https" if server.is_tls else "http", False, 0)
    entry = entry_port(template, server)

    def rank(one: ServicePort) -> tuple[bool, bool, bool, bool, bool]:
        return (
            one.port != port,
            resolve_target(one, template) != entry,
            one.name in METRICS_PORT_NAMES,
            one.port != 80,
            not one.name.startswith("http"),
        )

    chosen = min(usable, key=rank)
    target = resolve_target(chosen, template)
    leads = target == entry
    number = target if service.spec.cluster_ip == "None" and target else chosen.port
    scheme = _scheme(chosen, leads, server, target)
    is_proxy = chosen.name not in METRICS_PORT_NAMES and any(
        target == declared.container_port
        for container in _long_running_containers(template)
        if container is not server.container
        for declared in container.ports
    )
    pod_port = target if leads or is_proxy else 0
    return ServiceAddress(number, scheme, leads, chosen.node_port, chosen.port, pod_port)


def tcp_ports(service: Service) -> list[ServicePort]:
    """The ports that requests can go to."""
    return [one for one in service.spec.ports if one.port > 0 and one.protocol in ("", "TCP")]


def _scheme(port: ServicePort, leads: bool, server: DetectedServer, target: int) -> str:
    is_grpc = server.is_grpc and target == server.port
    if is_grpc or port.app_protocol in _GRPC_PROTOCOLS or port.name.startswith(_GRPC_NAMES):
        return ""
    is_tls = port.name == "https" or port.app_protocol == "https"
    return "https" if is_tls or (leads and server.is_tls) else "http"


def resolve_target(port: ServicePort, template: PodTemplate) -> int:
    """Number of the Pods' port that a Service port leads to; 0 if no container has the name."""
    target = port.target_port or port.port
    if isinstance(target, int):
        return target
    if target.isascii() and target.isdigit():
        return parse_port_number(target) or 0
    for container in _long_running_containers(template):
        for declared in container.ports:
            if declared.name == target:
                return declared.container_port
    return 0


def _long_running_containers(template: PodTemplate) -> list[Container | InitContainer]:
    """The containers and the sidecars (init containers that keep running)."""
    sidecars = [one for one in template.spec.init_containers if one.restart_policy == "Always"]
    return [*template.spec.containers, *sidecars]


def cluster_address(service: Service, address: ServiceAddress) -> str:
    """ "http://llama.team-a.svc:80", or "llama.team-a.svc:9000" for gRPC."""
    host = one_line(f"{service.metadata.name}.{service.metadata.namespace}.svc")
    return _join(address.scheme, host, f":{address.port}" if address.port else "")


def service_proxy_path(service: Service, address: ServiceAddress) -> str:
    """Path of the Service in the API server, below which it forwards requests to a Pod; "" for
    gRPC, which it does not forward, and without a port (kubernetes pkg/registry/core/service/
    storage/storage.go, ResourceLocation)."""
    if address.is_grpc or not address.service_port:
        return ""
    namespace, name = (
        quote(one, "") for one in (service.metadata.namespace, service.metadata.name)
    )
    target = f"{address.scheme}:{name}:{address.service_port}"
    return f"/api/v1/namespaces/{namespace}/services/{target}/proxy"


def external_address(service: Service, address: ServiceAddress) -> str:
    """Address of a load balancer from outside the cluster, "" if the Service has none."""
    if service.spec.type != "LoadBalancer" or not address.port:
        return ""
    for one in service.status.load_balancer.ingress:
        host = one.hostname or (f"[{one.ip}]" if ":" in one.ip else one.ip)
        if is_host(host):
            is_default = (address.scheme, address.port) in (("http", 80), ("https", 443))
            return _join(address.scheme, host, "" if is_default else f":{address.port}")
    return ""


def _join(scheme: str, host: str, port: str) -> str:
    return f"{scheme}://{host}{port}" if scheme else f"{host}{port}"
