"""What the cluster has installed that acts on the settings of a serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servedeck.serving.conventions import ALPHA_POOL_GROUP, ISTIO_GROUP, POOL_GROUP
from servedeck.serving.spec.mapping.json_values import JsonObject

KEDA_GROUP = "keda.sh"
ENVOY_GATEWAY_GROUP = "gateway.envoyproxy.io"


@dataclass(frozen=True, slots=True)
class Engines:
    """Without a value for a part, that part is not installed, or not known."""

    api_groups: frozenset[str] = frozenset()
    """API groups that the API server has."""
    prometheus_url: str = ""
    """Where Pods of the cluster reach Prometheus, "http://prometheus.monitoring:9090"."""
    has_async_gateway: bool = False
    """Whether the serving has an async gateway, whose backlog can wake it."""
    namespace_labels: Mapping[str, Any] | None = None
    """Labels of its namespace; None if they are not known."""
    wildcard_rules: tuple[JsonObject, ...] = ()
    """The DestinationRules of its namespace whose host is a wildcard; they are never changed."""
    pools: tuple[Mapping[str, Any], ...] = ()
    """InferencePools of the serving's namespace as decoded JSON, at least those that select its
    Pods."""
    hidden_pool_groups: frozenset[str] = frozenset()
    """Those of the API groups whose InferencePools may not be listed."""

    @property
    def has_keda(self) -> bool:
        return KEDA_GROUP in self.api_groups

    @property
    def has_istio(self) -> bool:
        return ISTIO_GROUP in self.api_groups

    @property
    def has_envoy_gateway(self) -> bool:
        return ENVOY_GATEWAY_GROUP in self.api_groups

    @property
    def has_inference_pools(self) -> bool:
        return any(one in self.api_groups for one in (POOL_GROUP, ALPHA_POOL_GROUP))
