"""Records of the objects that the controller watches: only what it decides by, as a cluster may
have thousands of Pods that it has nothing to do with."""

from __future__ import annotations

import msgspec

from servedeck.cluster import resources
from servedeck.cluster.watch.kinds import ResourceKind
from servedeck.serving.objects.records import Condition, ObjectMeta, ReadinessGate, Record
from servedeck.serving.temperature import TEMPERATURE_ANNOTATION, TEMPERATURE_GATE, GateState


class PolicyAnnotations(Record, frozen=True):
    policy: str = msgspec.field(default="", name=TEMPERATURE_ANNOTATION)


class PolicyMeta(ObjectMeta):
    annotations: PolicyAnnotations = PolicyAnnotations()


class PolicyDeployment(Record, frozen=True):
    metadata: PolicyMeta = PolicyMeta()


class PolicyReplicaSet(Record, frozen=True):
    metadata: ObjectMeta = ObjectMeta()


class GatedPodSpec(Record, frozen=True):
    readiness_gates: tuple[ReadinessGate, ...] = ()


class GatedPodStatus(Record, frozen=True):
    phase: str = ""
    conditions: tuple[Condition, ...] = ()


class GatedPod(Record, frozen=True):
    """A Pod, which may have the gate."""

    metadata: ObjectMeta = ObjectMeta()
    spec: GatedPodSpec = GatedPodSpec()
    status: GatedPodStatus = GatedPodStatus()

    @property
    def has_gate(self) -> bool:
        return any(one.condition_type == TEMPERATURE_GATE for one in self.spec.readiness_gates)

    @property
    def has_ended(self) -> bool:
        """Whether it will not serve again: it is being deleted, or its containers have ended."""
        return self.metadata.deletion_timestamp is not None or self.status.phase in (
            "Succeeded",
            "Failed",
        )

    @property
    def is_ready(self) -> bool:
        """What the kubelet has reported last."""
        return self._is_true("Ready")

    @property
    def could_be_ready(self) -> bool:
        """Whether only the gate of the temperature may keep it from being Ready."""
        gates = (one.condition_type for one in self.spec.readiness_gates)
        others = [one for one in gates if one != TEMPERATURE_GATE]
        return all(map(self._is_true, ("ContainersReady", *others)))

    @property
    def gate_state(self) -> GateState | None:
        """The condition of the gate; None if it has none."""
        for one in self.status.conditions:
            if one.type == TEMPERATURE_GATE:
                passes = one.status == "True"
                return GateState(passes, one.reason, one.message, one.last_transition_time)
        return None

    def _is_true(self, condition: str) -> bool:
        return any(one.type == condition and one.status == "True" for one in self.status.conditions)


DEPLOYMENTS = ResourceKind(resources.DEPLOYMENT, PolicyDeployment)
REPLICA_SETS = ResourceKind(resources.REPLICA_SET, PolicyReplicaSet)
PODS = ResourceKind(resources.POD, GatedPod)
