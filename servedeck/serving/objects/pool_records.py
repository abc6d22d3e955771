"""Records of InferencePools, which select Pods as a Service does, in both of their versions.

Sources: Gateway API Inference Extension, api/v1/inferencepool_types.go and
apix/v1alpha2/inferencepool_types.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from servedeck.serving.conventions import ALPHA_POOL_GROUP, POOL_GROUP
from servedeck.serving.label_selector import selects_labels
from servedeck.serving.objects.records import HTTPRouteStatus, LabeledMeta, Record


class PoolSelector(Record, frozen=True):
    match_labels: dict[str, str] = {}


class PoolPort(Record, frozen=True):
    number: int = 0


class InferencePoolSpec(Record, frozen=True):
    selector: PoolSelector = PoolSelector()
    target_ports: tuple[PoolPort, ...] = ()


class InferencePool(Record, frozen=True):
    """inference.networking.k8s.io/v1 InferencePool."""

    metadata: LabeledMeta = LabeledMeta()
    spec: InferencePoolSpec = InferencePoolSpec()
    status: HTTPRouteStatus = HTTPRouteStatus()
    """Its parents are Gateways, as those of an HTTPRoute."""

    @property
    def group(self) -> str:
        """API group of the object."""
        return POOL_GROUP

    @property
    def selector(self) -> Mapping[str, str]:
        """Labels of the Pods that it selects; {} for none."""
        return self.spec.selector.match_labels

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports of the Pods that its requests go to."""
        return tuple(one.number for one in self.spec.target_ports if one.number)


class AlphaInferencePoolSpec(Record, frozen=True):
    selector: dict[str, str] = {}
    target_port_number: int = 0


class AlphaInferencePool(Record, frozen=True):
    """inference.networking.x-k8s.io/v1alpha2 InferencePool. What Gateways say of it has no fixed
    form, and is not read."""

    metadata: LabeledMeta = LabeledMeta()
    spec: AlphaInferencePoolSpec = AlphaInferencePoolSpec()

    @property
    def group(self) -> str:
        """API group of the object."""
        return ALPHA_POOL_GROUP

    @property
    def selector(self) -> Mapping[str, str]:
        """Labels of the Pods that it selects; {} for none."""
        return self.spec.selector

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports of the Pods that its requests go to."""
        return tuple(filter(None, (self.spec.target_port_number,)))

    @property
    def status(self) -> HTTPRouteStatus:
        """Empty."""
        return HTTPRouteStatus()


Pool = InferencePool | AlphaInferencePool


def selects(pool: Pool, labels: Mapping[str, str]) -> bool:
    """Whether a pool selects the Pods with these labels in its namespace."""
    return selects_labels(pool.selector, labels)
