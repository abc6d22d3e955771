"""Resources that servedeck reads and writes, and their API paths."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.conventions import (
    ALPHA_POOL_GROUP,
    GATEWAY_API_GROUP,
    ISTIO_GROUP,
    OPENSHIFT_ROUTE_GROUP,
    POOL_GROUP,
)


@dataclass(frozen=True)
class Resource:
    """One API resource."""

    kind: str
    plural: str
    group: str
    """API group, "" for the core group."""
    version: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`apiVersion` of its objects, such as "v1" or "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource_name(self) -> str:
        """Name as written in RBAC rules and by kubectl, such as "pods" or "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def collection_path(self, namespace: str | None, version: str = "") -> str:
        """Path of the collection. For None and for cluster-scoped resources: across all namespaces.

        `version` overrides the resource's own version.
        """
        root = f"/apis/{self.group}" if self.group else "/api"
        within = f"/namespaces/{_segment(namespace)}" if namespace and self.namespaced else ""
        return f"{root}/{version or self.version}{within}/{self.plural}"

    def object_path(self, namespace: str | None, name: str, version: str = "") -> str:
        """Path of one object."""
        return f"{self.collection_path(namespace, version)}/{_segment(name)}"


def _segment(name: str) -> str:
    """A name as one segment of a path. Raises ClusterError for one that no quoting keeps in its
    place: clients resolve "." and ".." in paths, quoted or not (RFC 3986, section 5.2.4)."""
    if name in (".", ".."):
        raise ClusterError(f"{name!r} is not a name that an object can have; correct it.")
    return quote(name, safe="")


BACKEND_TRAFFIC_POLICY = Resource(
    "BackendTrafficPolicy", "backendtrafficpolicies", "gateway.envoyproxy.io", "v1alpha1"
)
CONFIG_MAP = Resource("ConfigMap", "configmaps", "", "v1")
DAEMON_SET = Resource("DaemonSet", "daemonsets", "apps", "v1")
DEPLOYMENT = Resource("Deployment", "deployments", "apps", "v1")
DESTINATION_RULE = Resource("DestinationRule", "destinationrules", ISTIO_GROUP, "v1")
EVENT = Resource("Event", "events", "", "v1")
GATEWAY = Resource("Gateway", "gateways", GATEWAY_API_GROUP, "v1")
HORIZONTAL_POD_AUTOSCALER = Resource(
    "HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2"
)
HTTP_ROUTE = Resource("HTTPRoute", "httproutes", GATEWAY_API_GROUP, "v1")
INFERENCE_POOL = Resource("InferencePool", "inferencepools", POOL_GROUP, "v1")
ALPHA_INFERENCE_POOL = Resource("InferencePool", "inferencepools", ALPHA_POOL_GROUP, "v1alpha2")
"""Before v1 of the Gateway API Inference Extension; a cluster may have both."""
INFERENCE_SERVICE = Resource(
    "InferenceService", "inferenceservices", "serving.kserve.io", "v1beta1"
)
INGRESS = Resource("Ingress", "ingresses", "networking.k8s.io", "v1")
ISTIO_GATEWAY = Resource("Gateway", "gateways", ISTIO_GROUP, "v1")
LEADER_WORKER_SET = Resource(
    "LeaderWorkerSet", "leaderworkersets", "leaderworkerset.x-k8s.io", "v1"
)
LISTENER_SET = Resource("ListenerSet", "listenersets", GATEWAY_API_GROUP, "v1")
"""Since 1.5 of the Gateway API."""
NAMESPACE = Resource("Namespace", "namespaces", "", "v1", namespaced=False)
NODE = Resource("Node", "nodes", "", "v1", namespaced=False)
OPENSHIFT_ROUTE = Resource("Route", "routes", OPENSHIFT_ROUTE_GROUP, "v1")
PERSISTENT_VOLUME_CLAIM = Resource("PersistentVolumeClaim", "persistentvolumeclaims", "", "v1")
NETWORK_POLICY = Resource("NetworkPolicy", "networkpolicies", "networking.k8s.io", "v1")
POD = Resource("Pod", "pods", "", "v1")
POD_DISRUPTION_BUDGET = Resource("PodDisruptionBudget", "poddisruptionbudgets", "policy", "v1")
PROJECT = Resource("Project", "projects", "project.openshift.io", "v1", namespaced=False)
"""OpenShift's: lists the namespaces that the user may see, without permission to list these."""
RAY_CLUSTER = Resource("RayCluster", "rayclusters", "ray.io", "v1")
RAY_SERVICE = Resource("RayService", "rayservices", "ray.io", "v1")
REPLICA_SET = Resource("ReplicaSet", "replicasets", "apps", "v1")
RESOURCE_CLAIM = Resource("ResourceClaim", "resourceclaims", "resource.k8s.io", "v1")
RESOURCE_CLAIM_TEMPLATE = Resource(
    "ResourceClaimTemplate", "resourceclaimtemplates", "resource.k8s.io", "v1"
)
ROLE = Resource("Role", "roles", "rbac.authorization.k8s.io", "v1")
ROLE_BINDING = Resource("RoleBinding", "rolebindings", "rbac.authorization.k8s.io", "v1")
ROLLOUT = Resource("Rollout", "rollouts", "argoproj.io", "v1alpha1")
RESOURCE_QUOTA = Resource("ResourceQuota", "resourcequotas", "", "v1")
RUNTIME_CLASS = Resource("RuntimeClass", "runtimeclasses", "node.k8s.io", "v1", namespaced=False)
SCALED_OBJECT = Resource("ScaledObject", "scaledobjects", "keda.sh", "v1alpha1")
SECRET = Resource("Secret", "secrets", "", "v1")
SERVICE = Resource("Service", "services", "", "v1")
SERVICE_ACCOUNT = Resource("ServiceAccount", "serviceaccounts", "", "v1")
STATEFUL_SET = Resource("StatefulSet", "statefulsets", "apps", "v1")
VIRTUAL_SERVICE = Resource("VirtualService", "virtualservices", ISTIO_GROUP, "v1")

POOL_RESOURCES = (INFERENCE_POOL, ALPHA_INFERENCE_POOL)

READONLY_WORKLOADS = (
    STATEFUL_SET,
    LEADER_WORKER_SET,
    INFERENCE_SERVICE,
    POD,
    DAEMON_SET,
    ROLLOUT,
    RAY_SERVICE,
    RAY_CLUSTER,
)
"""Workloads other than Deployments that can be servings; they are shown, never changed."""

RESOURCES_BY_KIND = {
    resource.kind: resource
    for resource in (
        BACKEND_TRAFFIC_POLICY,
        CONFIG_MAP,
        DAEMON_SET,
        DEPLOYMENT,
        DESTINATION_RULE,
        EVENT,
        HORIZONTAL_POD_AUTOSCALER,
        HTTP_ROUTE,
        INFERENCE_POOL,
        INFERENCE_SERVICE,
        INGRESS,
        LEADER_WORKER_SET,
        NAMESPACE,
        NETWORK_POLICY,
        NODE,
        OPENSHIFT_ROUTE,
        PERSISTENT_VOLUME_CLAIM,
        POD,
        POD_DISRUPTION_BUDGET,
        RAY_CLUSTER,
        RAY_SERVICE,
        REPLICA_SET,
        ROLE,
        ROLE_BINDING,
        ROLLOUT,
        SCALED_OBJECT,
        SECRET,
        SERVICE,
        SERVICE_ACCOUNT,
        STATEFUL_SET,
        VIRTUAL_SERVICE,
    )
}
