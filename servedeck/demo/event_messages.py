"""Reasons and messages of Events, conditions and waiting containers, with their source in
Kubernetes 1.36. The demo takes all such texts from here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Component(StrEnum):
    """The writer of an Event: `source.component` in core/v1, `reportingController` in
    events.k8s.io/v1."""

    DEPLOYMENT = "deployment-controller"
    REPLICASET = "replicaset-controller"
    SCHEDULER = "default-scheduler"
    KUBELET = "kubelet"
    KEDA = "keda-operator"
    HPA = "horizontal-pod-autoscaler"


class EventMessage(NamedTuple):
    component: Component
    type: str
    """"Normal" or "Warning"."""
    reason: str
    template: str
    """The message, for `str.format`."""
    action: str = ""
    """Set for Events that are written through events.k8s.io, as the scheduler's are."""


_NORMAL = "Normal"
_WARNING = "Warning"

# -- deployment controller (pkg/controller/deployment/sync.go, progress.go) ---------------------

SCALED_REPLICASET = EventMessage(
    Component.DEPLOYMENT,
    _NORMAL,
    "ScalingReplicaSet",
    "Scaled {direction} replica set {name} from {old} to {new}",  # scaleReplicaSet
)

# -- replica set controller (pkg/controller/controller_utils.go, RealPodControl) ----------------

CREATED_POD = EventMessage(Component.REPLICASET, _NORMAL, "SuccessfulCreate", "Created pod: {pod}")
DELETED_POD = EventMessage(Component.REPLICASET, _NORMAL, "SuccessfulDelete", "Deleted pod: {pod}")
CREATE_FAILED = EventMessage(
    Component.REPLICASET, _WARNING, "FailedCreate", "Error creating: {error}"
)

# -- scheduler (pkg/scheduler/schedule_one.go, bindingCycle and handleSchedulingFailure) --------

SCHEDULED = EventMessage(
    Component.SCHEDULER,
    _NORMAL,
    "Scheduled",
    "Successfully assigned {namespace}/{pod} to {node}",
    action="Binding",
)
SCHEDULING_FAILED = EventMessage(
    Component.SCHEDULER, _WARNING, "FailedScheduling", "{message}", action="Scheduling"
)

# -- kubelet: images (pkg/kubelet/images/image_manager.go) --------------------------------------

PULLING = EventMessage(Component.KUBELET, _NORMAL, "Pulling", 'Pulling image "{image}"')
PULLED = EventMessage(
    Component.KUBELET,
    _NORMAL,
    "Pulled",
    'Successfully pulled image "{image}" in {took} ({took} including waiting). '
    "Image size: {size} bytes.",
)
IMAGE_PRESENT = EventMessage(
    Component.KUBELET,
    _NORMAL,
    "Pulled",
    'Container image "{image}" already present on machine and can be accessed by the pod',
)
PULL_FAILED = EventMessage(
    Component.KUBELET, _WARNING, "Failed", 'Failed to pull image "{image}": {error}'
)
PULL_BACKOFF = EventMessage(
    Component.KUBELET, _NORMAL, "BackOff", 'Back-off pulling image "{image}"'
)
NEVER_PULL = EventMessage(
    Component.KUBELET,
    _WARNING,
    "ErrImageNeverPull",
    'Container image "{image}" is not present with pull policy of Never',
)
INSPECT_FAILED = EventMessage(
    Component.KUBELET,
    _WARNING,
    "InspectFailed",
    'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
    "invalid reference format",
)

# -- kubelet: containers (pkg/kubelet/kuberuntime/kuberuntime_container.go, _manager.go) --------

CREATED = EventMessage(Component.KUBELET, _NORMAL, "Created", "Container created")
STARTED = EventMessage(Component.KUBELET, _NORMAL, "Started", "Container started")
FAILED = EventMessage(Component.KUBELET, _WARNING, "Failed", "Error: {error}")
CRASH_BACKOFF = EventMessage(
    Component.KUBELET,
    _WARNING,
    "BackOff",
    "Back-off restarting failed container {container} in pod {pod}_{namespace}({uid})",
)
KILLING = EventMessage(Component.KUBELET, _NORMAL, "Killing", "Stopping container {container}")
KILLING_UNHEALTHY = EventMessage(
    Component.KUBELET,
    _NORMAL,
    "Killing",
    "Container {container} failed {probe} probe, will be restarted",
)

# -- kubelet: probes (pkg/kubelet/prober/prober.go, recordContainerEvent) -----------------------

UNHEALTHY = EventMessage(Component.KUBELET, _WARNING, "Unhealthy", "{probe} probe failed: {output}")

# -- kubelet: volumes (pkg/volume/util/operationexecutor/operation_generator.go) ----------------

MOUNT_FAILED = EventMessage(
    Component.KUBELET,
    _WARNING,
    "FailedMount",
    'MountVolume.SetUp failed for volume "{volume}" : {kind} "{name}" not found',
)

# -- scalers (keda pkg/eventreason, pkg/controller/podautoscaler/horizontal.go) -----------------

KEDA_READY = EventMessage(
    Component.KEDA, _NORMAL, "ScaledObjectReady", "ScaledObject is ready for scaling"
)
KEDA_SCALERS = EventMessage(Component.KEDA, _NORMAL, "KEDAScalersStarted", "Started scalers watch")
KEDA_CHECK_FAILED = EventMessage(
    Component.KEDA,
    _WARNING,
    "ScaledObjectCheckFailed",
    "ScaledObject doesn't have correct scaleTargetRef specification",
)
KEDA_SCALER_FAILED = EventMessage(Component.KEDA, _WARNING, "KEDAScalerFailed", "{error}")
KEDA_ACTIVATED = EventMessage(
    Component.KEDA,
    _NORMAL,
    "KEDAScaleTargetActivated",
    "Scaled {kind} {namespace}/{name} from {before} to {after}, triggered by {triggers}",
)
KEDA_DEACTIVATED = EventMessage(
    Component.KEDA,
    _NORMAL,
    "KEDAScaleTargetDeactivated",
    "Deactivated {kind} {namespace}/{name} from {before} to {after}",
)
HPA_NO_SCALE = EventMessage(Component.HPA, _WARNING, "FailedGetScale", "{error}")
HPA_NO_METRIC = EventMessage(Component.HPA, _WARNING, "FailedGetExternalMetric", "{error}")
HPA_NOT_COMPUTED = EventMessage(Component.HPA, _WARNING, "FailedComputeMetricsReplicas", "{error}")
RESCALED = EventMessage(
    Component.HPA,
    _NORMAL,
    "SuccessfulRescale",
    "New size: {size}; reason: {reason}",
)

# -- texts of states and conditions -------------------------------------------------------------

CRASH_WAITING = (
    "back-off {delay} restarting failed container={container} pod={pod}_{namespace}({uid})"
)
"""Source: kuberuntime_manager.go, doBackOff. The delay is a Go Duration: "10s", "2m40s"."""
PULL_WAITING = 'Back-off pulling image "{image}": ErrImagePull: {error}'
"""Source: image_manager.go, pullImage; since 1.31 with the last error."""
PULL_NOT_FOUND = (
    'rpc error: code = NotFound desc = failed to pull and unpack image "{reference}": '
    'failed to resolve reference "{reference}": {reference}: not found'
)
"""Source: containerd core/remotes/docker/resolver.go."""
PULL_DENIED = (
    'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": '
    "pull access denied, repository does not exist or may require authorization: "
    "server message: insufficient_scope: authorization failed"
)
PULL_UNAUTHORIZED = (
    'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": '
    "failed to authorize: failed to fetch oauth token: unexpected status from GET request to "
    "{registry}: 401 Unauthorized"
)
PULL_NO_HOST = (
    'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": '
    'failed to do request: Head "https://{registry}/v2/{repository}/manifests/{tag}": '
    "dial tcp: lookup {registry}: no such host"
)
IMAGE_NAME_INVALID = (
    'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": '
    "invalid reference format"
)
SECRET_MISSING = 'secret "{name}" not found'  # noqa: S105
SECRET_KEY_MISSING = "couldn't find key {key} in Secret {namespace}/{name}"  # noqa: S105
CONFIGMAP_MISSING = 'configmap "{name}" not found'
CONFIGMAP_KEY_MISSING = "couldn't find key {key} in ConfigMap {namespace}/{name}"
COMMAND_MISSING = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
    'runc create failed: unable to start container process: exec: "{command}": '
    "executable file not found in $PATH: unknown"
)
PROBE_REFUSED = 'Get "{url}": dial tcp {address}: connect: connection refused'
PROBE_STATUS = "HTTP probe failed with statuscode: {status}"
PROBE_TIMEOUT = (
    'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
)
QUOTA_EXCEEDED = (
    'pods "{pod}" is forbidden: exceeded quota: {quota}, requested: {requested}, used: {used}, '
    "limited: {limited}"
)
"""Source: apiserver pkg/admission/plugin/resourcequota/controller.go, CheckRequest. The amounts are
sorted "name=value" pairs, joined by commas."""
QUOTA_MUST_SPECIFY = 'pods "{pod}" is forbidden: failed quota: {quota}: must specify {what}'

# -- scheduler's reasons (pkg/scheduler/framework/plugins) --------------------------------------

NODES_AVAILABLE = "0/{nodes} nodes are available:"
NO_NODES = "no nodes available to schedule pods"
INSUFFICIENT = "Insufficient {resource}"
TOO_MANY_PODS = "Too many pods"
UNSCHEDULABLE_NODE = "node(s) were unschedulable"
UNTOLERATED_TAINT = "node(s) had untolerated taint(s)"
SELECTOR_MISMATCH = "node(s) didn't match Pod's node affinity/selector"
PVC_MISSING = 'persistentvolumeclaim "{name}" not found'
PVC_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
NO_VICTIMS = "No preemption victims found for incoming pod"
PREEMPTION_UNHELPFUL = "Preemption is not helpful for scheduling"

# -- conditions of Deployments (pkg/controller/deployment/util/deployment_util.go, progress.go) --

MINIMUM_AVAILABLE = ("MinimumReplicasAvailable", "Deployment has minimum availability.")
MINIMUM_UNAVAILABLE = (
    "MinimumReplicasUnavailable",
    "Deployment does not have minimum availability.",
)
NEW_REPLICASET = ("NewReplicaSetCreated", 'Created new replica set "{name}"')
FOUND_REPLICASET = ("FoundNewReplicaSet", 'Found new replica set "{name}"')
REPLICASET_UPDATED = ("ReplicaSetUpdated", 'ReplicaSet "{name}" is progressing.')
REPLICASET_AVAILABLE = (
    "NewReplicaSetAvailable",
    'ReplicaSet "{name}" has successfully progressed.',
)
DEADLINE_EXCEEDED = ("ProgressDeadlineExceeded", 'ReplicaSet "{name}" has timed out progressing.')
PAUSED = ("DeploymentPaused", "Deployment is paused")
RESUMED = ("DeploymentResumed", "Deployment is resumed")

# -- conditions of routes (gateway-api apis/v1/shared_types.go, envoy gateway's messages) -------

ROUTE_ACCEPTED = ("Accepted", "Route is accepted")
REFS_RESOLVED = ("ResolvedRefs", "Resolved all the Object references for the Route")
NO_PARENT = ("NoMatchingParent", "No matching Gateway or listener for this Route")
NO_LISTENER_HOSTNAME = (
    "NoMatchingListenerHostname",
    "There were no hostname intersections between the HTTPRoute and this parent ref's Listener(s).",
)
BACKEND_MISSING = (
    "BackendNotFound",
    "Failed to process route rule {rule} backendRef {index}: {kind} {namespace}/{name} not found.",
)

POLICY_ACCEPTED = ("Accepted", "Policy has been accepted.")
POLICY_CONFLICT = (
    "Unable to target {kind} {name}, another BackendTrafficPolicy has already attached to it"
)


def format_go_duration(seconds: float) -> str:
    """Seconds as Go prints a Duration: "10s", "2m40s", "1h0m0s", "1.234s", "850ms".

    Source: go time/time.go, Duration.String.
    """
    if seconds < 1:
        return f"{_without_trailing_zeros(seconds * 1000)}ms" if seconds else "0s"
    minutes, rest = divmod(round(seconds, 3), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{_without_trailing_zeros(rest)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _without_trailing_zeros(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
