"""Failure causes of whole Pods: rejected by a node, not scheduled, not set up, not created."""

from __future__ import annotations

from servedeck.serving.status.cause import FailureCause as Cause
from servedeck.serving.status.cause import Signal
from servedeck.serving.status.diagnosis import PodHealth

_PENDING = PodHealth.PENDING
_POD, _SCHEDULING, _NODES = Signal.POD_STATUS, Signal.SCHEDULING, Signal.NODE_REASON
_SETUP, _CREATION = Signal.SETUP_EVENT, Signal.CREATION

_ADMISSION = "k8s pkg/kubelet/lifecycle/predicate.go"
_DEVICES = "k8s pkg/kubelet/cm/devicemanager/manager.go"
_EVICTION = "k8s pkg/kubelet/eviction/helpers.go"
_SHUTDOWN = "k8s pkg/kubelet/nodeshutdown/nodeshutdown_manager.go"
_VOLUMES = "k8s pkg/volume/util/operationexecutor/operation_generator.go"
_ATTACH = "k8s pkg/controller/volume/attachdetach/reconciler/reconciler.go"
_SANDBOX = "k8s pkg/kubelet/kuberuntime/kuberuntime_sandbox.go"
_FIT_ERROR = "k8s pkg/scheduler/framework/types.go, FitError"

# fmt: off
REJECTED_POD_CAUSES: tuple[Cause, ...] = (
    Cause(
        _POD, "Evicted",
        r"low on resource: (?P<resource>[\w.-]+)\. Threshold quantity: "
        r"(?P<threshold>\S+), available: (?P<available>\S+)\. Container (?P<user>\S+) was "
        r"using (?P<usage>\S+), request is (?P<request>[^\s,]+)",
        "Evicted: {node} was low on {resource} ({available:bytes} available, threshold "
        "{threshold:bytes}); {user} was using {usage:bytes}, it requests {request:bytes}",
        _EVICTION,
    ),
    Cause(
        _POD, "Evicted",
        r"low on resource: (?P<resource>[\w.-]+)\. Threshold quantity: "
        r"(?P<threshold>\S+), available: (?P<available>\S+?)\.?(?:\s|$)",
        "Evicted: {node} was low on {resource} ({available:bytes} available, threshold "
        "{threshold:bytes})",
        _EVICTION,
    ),
    Cause(
        _POD, "Evicted",
        r"low on resource: (?P<resource>[\w.-]+)\. Container (?P<user>\S+) was using "
        r"(?P<usage>\S+), which exceeds its request of (?P<request>\S+?)\.?(?:\s|$)",
        "Evicted: {node} was low on {resource}; {user} was using {usage:bytes}, it "
        "requests {request:bytes}",
        "kubernetes v1.25 pkg/kubelet/eviction/helpers.go",
    ),
    Cause(
        _POD, "Evicted", r"low on resource: (?P<resource>[\w-]+)",
        "Evicted: {node} was low on {resource}", _EVICTION,
    ),
    Cause(
        _POD, "Evicted", r"node had condition: \[?(?P<condition>\w+(?: \w+)*)",
        "Evicted: {node} has the condition {condition}", _EVICTION,
    ),
    Cause(
        _POD, "Evicted",
        r"Pod ephemeral local storage usage exceeds the total limit of containers "
        r"(?P<limit>\S+?)\.?(?:\s|$)",
        "Evicted from {node}: it used more ephemeral storage than its limit of "
        "{limit:bytes}",
        _EVICTION,
    ),
    Cause(
        _POD, "Evicted",
        r"Container (?P<user>\S+) exceeded its local ephemeral storage limit "
        r'"(?P<limit>[^"]+)"',
        "Evicted from {node}: {user} used more ephemeral storage than its limit of "
        "{limit:bytes}",
        _EVICTION,
    ),
    Cause(
        _POD, "Evicted",
        r'Usage of EmptyDir volume "(?P<volume>[^"]+)" exceeds the limit '
        r'"(?P<limit>[^"]+)"',
        "Evicted from {node}: its emptyDir volume {volume} exceeded its limit of "
        "{limit:bytes}",
        _EVICTION,
    ),
    Cause(_POD, "Evicted", "", "Evicted from {node}: {why}", _EVICTION, requires="why"),
    Cause(
        _POD, "UnexpectedAdmissionError",
        r"requested number of devices unavailable for (?P<resource>\S+)\. Requested: "
        r"?(?P<requested>\d+), Available: ?(?P<available>\d+)",
        "{Node} rejected it: it requests {requested} {resource}, but {available} are "
        "available",
        _DEVICES,
    ),
    Cause(
        _POD, "UnexpectedAdmissionError",
        r"no healthy devices present; cannot allocate unhealthy devices "
        r"(?P<resource>[^\s,]+)",
        "{Node} rejected it: the node has no healthy {resource}", _DEVICES,
    ),
    Cause(
        _POD, "UnexpectedAdmissionError", r"nvml\.Device (?P<device>\d+): nvml: GPU is lost",
        "{Node} rejected it: the driver has lost GPU {device} of the node (GPU is lost)",
        "https://github.com/NVIDIA/k8s-device-plugin/issues/231",
    ),
    Cause(
        _POD, "OutOfcpu",
        r"requested: (?P<requested>\d+), used: (?P<used>\d+), capacity: (?P<capacity>\d+)",
        "{Node} rejected it: it requests {requested:cores} CPU, but {free:cores} of "
        "{capacity:cores} are free",
        _ADMISSION,
    ),
    Cause(
        _POD, "OutOfmemory OutOfephemeral-storage",
        r"resource: (?P<resource>\S+), requested: (?P<requested>\d+), used: "
        r"(?P<used>\d+), capacity: (?P<capacity>\d+)",
        "{Node} rejected it: it requests {requested:bytes} {resource}, but {free:bytes} "
        "of {capacity:bytes} are free",
        _ADMISSION,
    ),
    Cause(
        _POD, "OutOf*",
        r"resource: (?P<resource>\S+), requested: (?P<requested>\d+), used: "
        r"(?P<used>\d+), capacity: (?P<capacity>\d+)",
        "{Node} rejected it: it requests {requested} {resource}, but {free} of "
        "{capacity} are free",
        _ADMISSION,
    ),
    Cause(
        _POD, "NodeAffinity", "",
        "{Node} rejected it: the node does not match its node selector or affinity", _ADMISSION,
    ),
    Cause(
        _POD, "NodePorts", "", "{Node} rejected it: a host port that it requests is in use",
        _ADMISSION,
    ),
    Cause(
        _POD, "TopologyAffinityError", "",
        "{Node} rejected it: no NUMA node of the node has all devices and CPUs that it "
        "requests",
        "k8s pkg/kubelet/cm/topologymanager/topology_manager.go",
    ),
    Cause(_POD, "NodeShutdown", "", "{Node} rejected it: the node is shutting down", _SHUTDOWN),
    Cause(
        _POD, "Terminated Shutdown", r"shutdown|shutting", "Terminated because {node} shut down",
        _SHUTDOWN,
    ),
    Cause(
        _POD, "Preempting", "", "{Node} preempted it to admit a critical Pod",
        "k8s pkg/kubelet/preemption/preemption.go",
    ),
    Cause(
        _POD, "UnexpectedAdmissionError OutOf* PodOSNotSupported InvalidNodeInfo", "",
        "{Node} rejected it: {why}", _ADMISSION, requires="why",
    ),
    Cause(
        _POD, "NodeLost Unknown", "", "{Its_node} does not respond",
        "k8s pkg/controller/nodelifecycle",
    ),
    Cause(
        _POD, "", "", "{why}", "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/",
        requires="why",
    ),
    Cause(
        _POD, "", "", "The Pod failed: {reason}",
        "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/",
    ),
)
"""A Pod that its node evicted, rejected or lost."""

SCHEDULING_CAUSES: tuple[Cause, ...] = (
    Cause(
        _SCHEDULING, "SchedulingGated", "", "Blocked by a scheduling gate{colon_why}",
        "k8s pkg/scheduler/framework/plugins/schedulinggates", _PENDING,
    ),
    Cause(
        _SCHEDULING, "", r'PreBind plugin "VolumeBinding": binding volumes: (?P<error>.+)$',
        "Its volumes cannot be bound: {error}",
        "k8s pkg/scheduler/framework/plugins/volumebinding/binder.go", _PENDING,
    ),
    Cause(
        _SCHEDULING, "", r"pod has unbound immediate PersistentVolumeClaims",
        "It cannot be scheduled: a PVC of it is not bound to a volume (unbound immediate "
        "PersistentVolumeClaims)",
        "https://github.com/minio/directpv/issues/100", _PENDING,
    ),
    Cause(_SCHEDULING, "", "", "{fit}", _FIT_ERROR, _PENDING, requires="fit"),
    Cause(_SCHEDULING, "", "", "{why}", _FIT_ERROR, _PENDING, requires="why"),
    Cause(_SCHEDULING, "", "", "No node fits it", _FIT_ERROR, _PENDING),
    Cause(
        _NODES, "", r"^Insufficient (?P<resource>\S+)$", "without enough free {resource}",
        "k8s pkg/scheduler/framework/plugins/noderesources/fit.go",
    ),
    Cause(
        _NODES, "", r"taint(?:\(s\))? \{(?P<taint>[^}]*?)(?:: )?\}",
        "with an untolerated taint ({taint})",
        "k8s pkg/scheduler/framework/plugins/tainttoleration",
    ),
    Cause(
        _NODES, "", r"untolerated taint|had taints? that the pod didn't tolerate",
        "with an untolerated taint", "k8s pkg/scheduler/framework/plugins/tainttoleration",
    ),
    Cause(
        _NODES, "", r"^node\(s\) were unschedulable$", "cordoned",
        "k8s pkg/scheduler/framework/plugins/nodeunschedulable",
    ),
    Cause(
        _NODES, "",
        r"didn't match (?:Pod's )?node (?:affinity/)?selector|didn't match Pod's node "
        r"affinity",
        "outside its node selector or affinity", "k8s pkg/scheduler/framework/plugins/nodeaffinity",
    ),
    Cause(
        _NODES, "", r"didn't match pod affinity rules", "not matching its affinity to other Pods",
        "k8s pkg/scheduler/framework/plugins/interpodaffinity",
    ),
    Cause(
        _NODES, "", r"didn't match pod anti-affinity rules",
        "not matching its anti-affinity to other Pods",
        "k8s pkg/scheduler/framework/plugins/interpodaffinity",
    ),
    Cause(
        _NODES, "", r"didn't match pod topology spread constraints",
        "not matching its topology spread constraints",
        "k8s pkg/scheduler/framework/plugins/podtopologyspread",
    ),
    Cause(
        _NODES, "", r"volume node affinity conflict", "outside its volume's node affinity",
        "k8s#108096",
    ),
    Cause(
        _NODES, "", r"didn't find available persistent volumes to bind",
        "without a volume for its PVC", "k8s pkg/scheduler/framework/plugins/volumebinding",
    ),
    Cause(
        _NODES, "", r"exceed max volume count", "at their maximum number of volumes",
        "k8s pkg/scheduler/framework/plugins/nodevolumelimits",
    ),
    Cause(
        _NODES, "", r"didn't have free ports", "without its host port free",
        "k8s pkg/scheduler/framework/plugins/nodeports",
    ),
    Cause(
        _NODES, "", r"^Too many pods$", "at their maximum number of Pods",
        "k8s pkg/scheduler/framework/plugins/noderesources/fit.go",
    ),
    Cause(
        _NODES, "", r"^cannot allocate all claims$", "without a free device for its ResourceClaim",
        "k8s pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go",
    ),
    Cause(_NODES, "", r"^node\(s\) (?P<rest>.+)$", "that {rest}", _FIT_ERROR),
    # The plugins of other schedulers: "NodeUnfitPod".
    Cause(
        _NODES, "", r"^(?P<token>\w+)$", "rejected as {token}",
        "https://github.com/Project-HAMi/HAMi/issues/1527",
    ),
    Cause(_NODES, "", "", "rejected: {reason}", _FIT_ERROR),
)
"""A Pod that no node accepts."""

SETUP_CAUSES: tuple[Cause, ...] = (
    Cause(
        _SETUP, "FailedAttachVolume",
        r'Multi-Attach error for volume "(?P<volume>[^"]+)" Volume is already used by '
        r"pod\(s\) (?P<pods>.+)$",
        "A volume cannot be attached: {volume} is still in use by Pod {pods} on another "
        "node",
        _ATTACH, _PENDING,
    ),
    Cause(
        _SETUP, "FailedAttachVolume", r'Multi-Attach error for volume "(?P<volume>[^"]+)"',
        "A volume cannot be attached: {volume} is still attached to another node", _ATTACH,
        _PENDING,
    ),
    Cause(
        _SETUP, "FailedAttachVolume", r'failed for volume "(?P<volume>[^"]+)" ?: (?P<error>.+)$',
        'A volume cannot be attached: volume "{volume}": {error}',
        "https://github.com/hetznercloud/csi-driver/issues/34", _PENDING,
    ),
    Cause(
        _SETUP, "FailedAttachVolume", "", "A volume cannot be attached{colon_why}", _ATTACH,
        _PENDING,
    ),
    Cause(
        _SETUP, "FailedMount",
        r'failed for volume "(?P<volume>[^"]+)" ?: .*?(?P<kind>secret|configmap)s? '
        r'"(?P<object>[^"]+)" not found',
        'A volume cannot be mounted: volume "{volume}": {kind} "{object}" not found',
        "https://github.com/projectcontour/contour/issues/3548", _PENDING,
    ),
    Cause(
        _SETUP, "FailedMount",
        r'failed for volume "(?P<volume>[^"]+)" ?: .*?references non-existent '
        r"(?P<kind>secret|config) key: (?P<key>\S+)",
        'A volume cannot be mounted: volume "{volume}": its {kind} has no key {key}',
        "https://github.com/juicedata/juicefs-operator/issues/39", _PENDING,
    ),
    Cause(
        _SETUP, "FailedMount",
        r'failed for volume "(?P<volume>[^"]+)" ?: .*?driver name (?P<driver>\S+) not '
        r"found in the list of registered CSI drivers",
        'A volume cannot be mounted: volume "{volume}": the CSI driver {driver} is not '
        "registered on {node}",
        "https://github.com/ceph/ceph-csi/issues/710", _PENDING,
    ),
    Cause(
        _SETUP, "FailedMount FailedMapVolume",
        r'failed for volume "(?P<volume>[^"]+)" ?: .*Output: (?P<error>.+)$',
        'A volume cannot be mounted: volume "{volume}": {error}', "k8s#108963", _PENDING,
    ),
    Cause(
        _SETUP, "FailedMount FailedMapVolume",
        r'failed for volume (?P<volume>"[^"]+") ?: (?P<error>.+)$',
        "A volume cannot be mounted: volume {volume}: {error}", _VOLUMES, _PENDING,
    ),
    Cause(
        _SETUP, "FailedMapVolume", "", "A volume cannot be mapped{colon_why}", _VOLUMES, _PENDING,
    ),
    Cause(
        _SETUP, "FailedPrepareDynamicResources", r"DRA driver (?P<driver>\S+) is not registered",
        "A claimed device cannot be prepared: the DRA driver {driver} is not registered "
        "on {node}",
        "https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu/issues/814", _PENDING,
    ),
    Cause(
        _SETUP, "FailedPrepareDynamicResources", "",
        "A claimed device cannot be prepared{colon_why}", "k8s pkg/kubelet/cm/dra/manager.go",
        _PENDING,
    ),
    Cause(
        _SETUP, "FailedCreatePodSandBox",
        r"failed to assign an IP address to container|no IP addresses "
        r"available|InsufficientIPAddresses",
        "The Pod's sandbox cannot be created: {node} has no free IP address for it",
        "https://github.com/aws/amazon-vpc-cni-k8s/issues/281", _PENDING,
    ),
    Cause(
        _SETUP, "FailedCreatePodSandBox", r'no runtime for "(?P<handler>[^"]+)" is configured',
        "The Pod's sandbox cannot be created: the container runtime of {node} has no "
        'handler "{handler}" (runtimeClassName)',
        "https://github.com/NVIDIA/gpu-operator/issues/413", _PENDING,
    ),
    Cause(
        _SETUP, "FailedCreatePodSandBox", "", "The Pod's sandbox cannot be created{colon_why}",
        _SANDBOX, _PENDING,
    ),
    Cause(
        _SETUP, "NetworkNotReady", "", "The node's network is not ready{colon_why}",
        "k8s pkg/kubelet/kubelet.go", _PENDING,
    ),
    # What the kubelet writes every two minutes while any of the above lasts.
    Cause(
        _SETUP, "FailedMount", "", "A volume cannot be mounted{colon_why}", "k8s#53059", _PENDING,
    ),
)
"""A node that cannot set up a Pod: volumes, devices, sandbox, network."""

CREATION_CAUSES: tuple[Cause, ...] = (
    Cause(
        _CREATION, "",
        r'failed calling (?:admission )?webhook "(?P<webhook>[^"]+)": '
        r".*?(?P<error>context deadline exceeded|connection refused|no endpoints "
        r'available for service "[^"]+"|x509: .+|i/o timeout)',
        "No Pod can be created: the admission webhook {webhook} does not respond: {error}",
        "k8s#112765",
    ),
    Cause(
        _CREATION, "", r'admission webhook "(?P<webhook>[^"]+)" denied the request: (?P<error>.+)$',
        "No Pod can be created: the admission webhook {webhook} denied it: {error}", "k8s#55924",
    ),
    Cause(
        _CREATION, "", "", "No Pod can be created{colon_why}",
        "k8s pkg/controller/replicaset/replica_set.go",
    ),
)
"""Pods that cannot be created. Quota, LimitRange and PodSecurity name the amounts and fields
themselves."""
# fmt: on
