"""Failure causes of containers: how one ended, why it cannot start, its image, its probes."""

from __future__ import annotations

from servedeck.serving.status.cause import FailureCause as Cause
from servedeck.serving.status.cause import Signal
from servedeck.serving.status.diagnosis import PodHealth

_PENDING, _STARTING = PodHealth.PENDING, PodHealth.STARTING
_ENDED, _WAITING, _IMAGE = Signal.TERMINATED, Signal.WAITING, Signal.IMAGE
_START = (_WAITING, _ENDED)

# kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/container/
# sync_result.go; the runtimes report StartError (containerd) and ContainerCannotRun (Docker).
_START_ERRORS = (
    "StartError ContainerCannotRun RunContainerError CreateContainerError"
    " CreateContainerConfigError PreCreateHookError PreStartHookError PostStartHookError"
)
_CONTAINER = "k8s pkg/kubelet/kuberuntime/kuberuntime_container.go"
_IMAGES = "k8s pkg/kubelet/images/image_manager.go"

# fmt: off
CONTAINER_CAUSES: tuple[Cause, ...] = (
    Cause(
        _ENDED, "OOMKilled", "",
        "was killed because memory ran out (OOMKilled); it has no memory limit", _CONTAINER,
        requires="no_limit",
    ),
    Cause(
        _ENDED, "OOMKilled", "", "exceeded its memory limit of {limit} and was killed (OOMKilled)",
        _CONTAINER, requires="limit",
    ),
    Cause(
        _ENDED, "OOMKilled", "", "exceeded its memory limit and was killed (OOMKilled)", _CONTAINER,
    ),
    Cause(
        _START, _START_ERRORS, r"unsatisfied condition: (?P<condition>.+?)(?:, please|: unknown|$)",
        "{start_failed}: its image needs {condition}, which the NVIDIA driver of {node} "
        "does not support",
        "https://github.com/NVIDIA/nvidia-docker/issues/1442",
    ),
    Cause(
        _START, _START_ERRORS, r"nvidia-container-cli: (?P<error>.+?)(?:: unknown)?\.?$",
        "{start_failed}: {node} cannot provide its NVIDIA GPUs: {error}",
        "https://github.com/NVIDIA/nvidia-container-toolkit/issues/260",
    ),
    Cause(
        _START, _START_ERRORS, r"unresolvable CDI devices (?P<devices>.+?)(?:: unknown)?$",
        "{start_failed}: {node} has no CDI specification of {devices}",
        "https://github.com/NVIDIA/gpu-operator/issues/531",
    ),
    Cause(
        _START, _START_ERRORS, r"could not select device driver",
        "{start_failed}: the NVIDIA Container Toolkit is not set up on {node} (could not "
        "select device driver)",
        "https://github.com/NVIDIA/nvidia-container-toolkit/issues/434",
    ),
    Cause(
        _START, _START_ERRORS, r"exec format error",
        "{start_failed}: its image is built for another platform than that of {node} "
        "(exec format error)",
        "https://github.com/kubernetes/node-problem-detector/issues/797",
    ),
    Cause(
        _ENDED, "", r'^(?:standard_init_linux\.go:\d+: )?exec .*: \"?exec format error',
        "could not start: its image is built for another platform than that of {node} "
        "(exec format error)",
        "https://github.com/canonical/microk8s/issues/1942",
    ),
    Cause(
        _START, _START_ERRORS, r'exec: (?P<command>"?[^\s"]+"?): permission denied',
        "{start_failed}: its user may not execute {command} (permission denied)",
        "https://github.com/envoyproxy/gateway/issues/5648",
    ),
    Cause(
        _START, _START_ERRORS, r"mkdir (?P<path>\S+): read-only file system",
        "{start_failed}: {path} cannot be created, because the file system is read-only",
        "https://github.com/kubernetes-sigs/blob-csi-driver/issues/2138",
    ),
    Cause(
        _START, _START_ERRORS, r"runAsNonRoot and image will run as root",
        "{start_failed}: its image runs as root, which its runAsNonRoot does not allow",
        "k8s pkg/kubelet/kuberuntime/security_context_others.go",
    ),
    Cause(
        _START, _START_ERRORS, r"image has non-numeric user \((?P<user>[^)]*)\)",
        "{start_failed}: its runAsNonRoot cannot be verified, because the image's user "
        "{user} is not a number; set runAsUser",
        "k8s pkg/kubelet/kuberuntime/security_context_others.go",
    ),
    Cause(
        _START, _START_ERRORS, r'failed to prepare subPath for volumeMount "(?P<volume>[^"]+)"',
        "{start_failed}: the subPath of its volume {volume} cannot be mounted",
        "k8s#61178 pkg/kubelet/kubelet_pods.go",
    ),
    Cause(
        _START, _START_ERRORS, r'\b(?P<kind>secret|configmap)s? "(?P<object>[^"]+)" not found',
        '{start_failed}: {kind} "{object}" not found', "k8s pkg/kubelet/kubelet_pods.go",
    ),
    Cause(
        _START, _START_ERRORS,
        r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?P<object>\S+)",
        "{start_failed}: {kind} {object} has no key {key}", "k8s pkg/kubelet/kubelet_pods.go",
    ),
    Cause(
        _START, "PostStartHookError",
        r"(?:lifecycle hook .*? failed - error: )?(?P<error>(?:command '.*' )?exited with "
        r"\d+.*)$",
        "{start_failed}: its postStart hook {error}", "k8s pkg/kubelet/lifecycle/handlers.go",
    ),
    Cause(
        _START, "PostStartHookError", "", "{start_failed}: its postStart hook failed: {why}",
        _CONTAINER, requires="why",
    ),
    Cause(_START, _START_ERRORS, "", "{start_failed}: {why}", _CONTAINER, requires="why"),
    Cause(_ENDED, _START_ERRORS, "", "{start_failed}", _CONTAINER),
    Cause(
        Signal.LOG_ERROR, "", "", "{known}", "servedeck/serving/status/log_errors.py, with sources",
    ),
    Cause(
        Signal.KILLED_BY_PROBE, "startup", "",
        "was killed because its startup probe failed{detail}; it allows {allowed} for "
        "the start",
        "k8s pkg/kubelet/prober/worker.go", requires="allowed",
    ),
    Cause(
        Signal.KILLED_BY_PROBE, "startup liveness", "",
        "was killed because its {reason} probe failed{detail}", "k8s pkg/kubelet/prober/worker.go",
    ),
    Cause(
        _ENDED, "ContainerStatusUnknown", "", "ended in an unknown way: {node} has lost its state",
        "k8s pkg/kubelet/kubelet_pods.go",
    ),
    Cause(
        _ENDED, "Error Completed", "", "exited with code 0: a server must keep running{detail}",
        _CONTAINER, exit_codes=(0,),
    ),
    Cause(
        _ENDED, "Error", "", "exited with code 126: its command cannot be executed{detail}",
        "https://tldp.org/LDP/abs/html/exitcodes.html", exit_codes=(126,),
    ),
    Cause(
        _ENDED, "Error", "", "exited with code 127: its command was not found{detail}",
        "https://tldp.org/LDP/abs/html/exitcodes.html", exit_codes=(127,),
    ),
    Cause(
        _ENDED, "Error", "",
        "was terminated by SIGBUS ({shown}): /dev/shm is probably too small{detail}",
        "https://github.com/vllm-project/vllm/issues/1771", exit_codes=(135,),
    ),
    Cause(
        _ENDED, "Error", "", "was killed ({shown}, SIGKILL){detail}", "k8s#19825",
        exit_codes=(137,), requires="detail",
    ),
    Cause(
        _ENDED, "Error", "",
        "was killed ({shown}, SIGKILL): a process exceeded the memory limit of {limit}, "
        "its node ran out of memory, or it did not stop within its grace period",
        "k8s#50632", exit_codes=(137,), requires="limit",
    ),
    Cause(
        _ENDED, "Error", "",
        "was killed ({shown}, SIGKILL): its node ran out of memory, or it did not stop "
        "within its grace period",
        "k8s#19825", exit_codes=(137,),
    ),
    Cause(
        _ENDED, "Error", "", "was terminated by {signal_name} ({shown}){detail}", "signal(7)",
        requires="signal_name",
    ),
    Cause(_ENDED, "Error Completed", "", "exited with code {exit_code}{detail}", _CONTAINER),
    Cause(_ENDED, "", "", "terminated: {reason}{comma_detail}", _CONTAINER),
    Cause(_WAITING, "CrashLoopBackOff", "", "keeps crashing{colon_why}", _CONTAINER),
    Cause(_WAITING, "", "", "{start_failed}: {why}", _CONTAINER, requires="why"),
    Cause(_WAITING, "", "", "{start_failed}: {reason}", _CONTAINER),
)
"""A container that ended, or that its node cannot create or start. An exit code tells least."""

IMAGE_CAUSES: tuple[Cause, ...] = (
    Cause(
        _IMAGE, "",
        r"no match for platform in manifest|no matching manifest for|no supported "
        r"platform found|does not match the specified platform",
        "{Image} cannot be pulled: it is not built for the platform of {node}",
        "https://github.com/kubewarden/adm-controller/issues/1378", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"no space left on device",
        "{Image} cannot be pulled: the disk of {node} is full (no space left on device)",
        "https://github.com/tableau/tableau-server-in-kubernetes/issues/14", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"toomanyrequests|429 Too Many Requests|pull rate limit",
        "{Image} cannot be pulled: the registry's pull rate limit is reached (429 Too "
        "Many Requests)",
        "https://github.com/kata-containers/kata-containers/issues/10109", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"pull QPS exceeded",
        "{Image} cannot be pulled yet: {node} pulls too many images at once (pull QPS "
        "exceeded)",
        _IMAGES, _PENDING,
    ),
    Cause(
        _IMAGE, "", r'x509: (?P<error>[^\"]+?)\"?$',
        "{Image} cannot be pulled: {node} does not trust the registry: {error}", "k8s#43924",
        _PENDING,
    ),
    Cause(
        _IMAGE, "",
        r"lookup (?P<registry>[\w.-]+)(?: on \S+)?: .*?(?P<error>no such host|server "
        r"misbehaving|i/o timeout|Temporary failure in name resolution)",
        "{Image} cannot be pulled: {node} cannot resolve the name of the registry "
        "{registry} ({error})",
        "https://github.com/hjacobs/kube-ops-view/issues/176", _PENDING,
    ),
    Cause(
        _IMAGE, "",
        r"dial tcp (?P<registry>\S+?): (?:connect: )?(?P<error>i/o timeout|connection "
        r"refused|no route to host|network is unreachable)",
        "{Image} cannot be pulled: the registry {registry} does not respond ({error})",
        "https://github.com/UKHomeOffice/kb8or/issues/48", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"server gave HTTP response to HTTPS client",
        "{Image} cannot be pulled: the registry answers with HTTP, but {node} uses HTTPS",
        "https://github.com/enix/kube-image-keeper/issues/60", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"repository does not exist or may require", "{Image} cannot be pulled: {why}",
        "https://docs.docker.com/reference/cli/docker/image/pull/", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"(?P<status>401 Unauthorized|403 Forbidden)",
        "{Image} cannot be pulled: the registry denies access ({status}); check "
        "imagePullSecrets",
        "https://github.com/bank-vaults/bank-vaults/issues/1640", _PENDING,
    ),
    Cause(
        _IMAGE, "",
        r"unauthorized: |authentication required|: denied|: unauthorized$|no basic auth "
        r"credentials",
        "{Image} cannot be pulled: the registry denies access; check imagePullSecrets",
        "https://kubernetes.io/docs/concepts/containers/images/#imagepullbackoff", _PENDING,
    ),
    Cause(
        _IMAGE, "", r"manifest unknown|: not found$|repository .* not found",
        "{Image} cannot be pulled: not found in the registry",
        "https://github.com/kubevela/kubevela/pull/981", _PENDING,
    ),
    Cause(
        _IMAGE, "ErrImageNeverPull", "",
        "{Image} is not present on {node}, and its imagePullPolicy is Never", _IMAGES, _PENDING,
    ),
    Cause(_IMAGE, "", "", "{Image} cannot be pulled: {why}", _IMAGES, _PENDING, requires="why"),
    Cause(_IMAGE, "", "", "{Image} cannot be pulled", _IMAGES, _PENDING),
)
"""An image that cannot be pulled."""

READINESS_CAUSES: tuple[Cause, ...] = (
    Cause(
        Signal.PROBE_EVENT, "", "", "is not ready: {reason} probe failed{detail}",
        "k8s pkg/kubelet/prober/prober.go", _STARTING,
    ),
)
"""A container that runs but is not ready."""
# fmt: on
