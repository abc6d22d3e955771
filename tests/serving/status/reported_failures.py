"""Failures as public reports show them: the texts that Kubernetes wrote there, unchanged, and the
failure reason that an operator must read. The key of each is the address of the report."""

from __future__ import annotations

from typing import Any, NamedTuple

from servedeck.serving.objects.records import Event, Pod
from tests.serving.factories import ago, condition, event, last_terminated, pod, running, waiting
from tests.serving.status.pod_factory import (
    CREATING,
    crashing_pod,
    pending_pod,
    unscheduled_pod,
    with_resources,
)

SERVER = "inference-server"


class Report(NamedTuple):
    pod: Pod
    reason: str
    message: str
    """Message of the diagnosis, or its beginning if it ends in "…"."""
    events: tuple[Event, ...] = ()


def failed(reason: str, message: str) -> Pod:
    """A Pod that its node evicted, rejected or ended."""
    return pod(phase="Failed", status={"reason": reason, "message": message})


def pulling(message: str, reason: str = "ErrImagePull") -> Pod:
    return pending_pod(waiting(reason, message))


def starting(reason: str, message: str) -> Pod:
    return pending_pod(waiting(reason, message))


def start_error(message: str) -> Pod:
    """A container that never started, as containerd reports it."""
    return crashing_pod(128, "StartError", message)


def setting_up(*events: Event) -> tuple[Pod, tuple[Event, ...]]:
    return pending_pod(CREATING), events


def setup_report(reason: str, message: str, *events: Event) -> Report:
    return Report(pending_pod(CREATING), reason, message, events)


def reported_event(reason: str, message: str, **when: float) -> Event:
    """A Warning Event, 30 seconds old by default."""
    return event(reason, message, when=ago(**(when or {"seconds": 30})))


def probe_report(
    exit_code: int,
    message: str,
    *,
    ran: dict[str, float],
    text: str,
    reason: str = "startup probe failed",
    finished: dict[str, float] | None = None,
    probe: dict[str, int] | None = None,
    kind: str = "startupProbe",
) -> Report:
    """A server that its probe killed a minute ago, after it `ran` for so long."""
    finished = finished or {"minutes": 1}
    begun: dict[str, Any] = {"startedAt": _earlier(finished, ran)}
    ended = last_terminated(exit_code, "Completed" if exit_code == 0 else "Error", **finished)
    ended["terminated"] |= begun
    given = pod(
        waiting("CrashLoopBackOff", "back-off 5m0s", restartCount=5, lastState=ended),
        spec={"containers": [{"name": SERVER, kind: probe}]} if probe else None,
    )
    unhealthy = event("Unhealthy", message, SERVER, when=ago(seconds=70), count=30)
    return Report(given, reason, text, (unhealthy,))


def _earlier(finished: dict[str, float], ran: dict[str, float]) -> str:
    return ago(**{key: finished.get(key, 0) + ran.get(key, 0) for key in finished | ran})


VLLM_PROBE = {"periodSeconds": 5, "failureThreshold": 30}
GITHUB = "https://github.com"
K8S = f"{GITHUB}/kubernetes/kubernetes"

POD_STATUS_REPORTS: dict[str, Report] = {
    # -- evictions --------------------------------------------------------------------------
    f"{GITHUB}/openshift/release/pull/76967": Report(
        failed(
            "Evicted",
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 87608Ki. "
            "\nContainer dptp-controller-manager was using 48458972Ki, request is 15Gi, has larger "
            "consumption of memory. ",
        ),
        "Evicted",
        "Evicted: node gpu-1 was low on memory (85.6Mi available, threshold 100Mi); "
        "dptp-controller-manager was using 46.2Gi, it requests 15Gi",
    ),
    f"{GITHUB}/cloud-ark/kubeplus/issues/1382": Report(
        failed(
            "Evicted",
            "The node was low on resource: ephemeral-storage. Threshold quantity: 2146223340, "
            "available: 1883424Ki. Container helmer was using 10304Ki, request is 10Mi, has larger "
            "consumption of ephemeral-storage. Container consumerui was using 52676Ki, request is "
            "10Mi, has larger consumption of ephemeral-storage.\n",
        ),
        "Evicted",
        "Evicted: node gpu-1 was low on ephemeral-storage (1.8Gi available, threshold 2Gi); "
        "helmer was using 10.1Mi, it requests 10Mi",
    ),
    f"{K8S}/issues/91600": Report(
        failed(
            "Evicted",
            "The node was low on resource: ephemeral-storage. Container ebaogi-bff-app was using "
            "34260Ki, which exceeds its request of 0. ",
        ),
        "Evicted",
        "Evicted: node gpu-1 was low on ephemeral-storage; ebaogi-bff-app was using 33.5Mi, it "
        "requests 0",
    ),
    f"{GITHUB}/FederatedAI/KubeFATE/issues/64": Report(
        failed("Evicted", "Pod The node had condition: [MemoryPressure]. "),
        "Evicted",
        "Evicted: node gpu-1 has the condition MemoryPressure",
    ),
    f"{GITHUB}/artifact-keeper/artifact-keeper-iac/issues/153": Report(
        failed(
            "Evicted",
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ",
        ),
        "Evicted",
        "Evicted from node gpu-1: it used more ephemeral storage than its limit of 1Gi",
    ),
    "kubernetes v1.36 pkg/kubelet/eviction/helpers.go: emptyDirMessageFmt": Report(
        failed("Evicted", 'Usage of EmptyDir volume "dshm" exceeds the limit "512Mi". '),
        "Evicted",
        "Evicted from node gpu-1: its emptyDir volume dshm exceeded its limit of 512Mi",
    ),
    f"{GITHUB}/cloud-ark/kubeplus/issues/1389": Report(
        failed(
            "Evicted", 'Container consumerui exceeded its local ephemeral storage limit "20Mi". '
        ),
        "Evicted",
        "Evicted from node gpu-1: consumerui used more ephemeral storage than its limit of 20Mi",
    ),
    # -- a node that rejects a Pod ------------------------------------------------------------
    f"{K8S}/issues/130145": Report(
        failed(
            "UnexpectedAdmissionError",
            "Pod Allocate failed due to requested number of devices unavailable for "
            "nvidia.com/gpu. Requested:1, Available: 0, which is unexpected",
        ),
        "UnexpectedAdmissionError",
        "Node gpu-1 rejected it: it requests 1 nvidia.com/gpu, but 0 are available",
    ),
    f"{GITHUB}/NVIDIA/k8s-device-plugin/issues/231": Report(
        failed(
            "UnexpectedAdmissionError",
            "Pod Allocate failed due to device plugin GetPreferredAllocation rpc failed with err: "
            "rpc error: code = Unknown desc = Unable to retrieve list of available devices: error "
            "creating nvml.Device 3: nvml: GPU is lost, which is unexpected",
        ),
        "UnexpectedAdmissionError",
        "Node gpu-1 rejected it: the driver has lost GPU 3 of the node (GPU is lost)",
    ),
    f"{GITHUB}/trueforge-org/truecharts/issues/19201": Report(
        failed(
            "UnexpectedAdmissionError",
            "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices "
            "amd.com/gpu, which is unexpected",
        ),
        "UnexpectedAdmissionError",
        "Node gpu-1 rejected it: the node has no healthy amd.com/gpu",
    ),
    f"{GITHUB}/Project-HAMi/HAMi/issues/71": Report(
        failed(
            "UnexpectedAdmissionError",
            "Allocate failed due to rpc error: code = Unavailable desc = error reading from "
            "server: EOF, which is unexpected",
        ),
        "UnexpectedAdmissionError",
        "Node gpu-1 rejected it: rpc error: code = Unavailable desc = error reading from server: "
        "EOF",
    ),
    f"{GITHUB}/neondatabase/autoscaling/issues/374": Report(
        failed(
            "OutOfcpu",
            "Pod Node didn't have enough resource: cpu, requested: 1000, used: 94939, capacity: "
            "95690",
        ),
        "OutOfcpu",
        "Node gpu-1 rejected it: it requests 1 CPU, but 0.751 of 95.69 are free",
    ),
    f"{GITHUB}/red-hat-storage/ocs-ci/issues/12362": Report(
        failed(
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 150, used: 11388, "
            "capacity: 11500",
        ),
        "OutOfcpu",
        "Node gpu-1 rejected it: it requests 0.15 CPU, but 0.112 of 11.5 are free",
    ),
    f"{GITHUB}/gitpod-io/gitpod/pull/8463": Report(
        failed(
            "OutOfmemory",
            "Pod Node didn't have enough resource: memory, requested: 2097152000, used: "
            "65865462583, capacity: 66388008960",
        ),
        "OutOfmemory",
        "Node gpu-1 rejected it: it requests 2000Mi memory, but 498.3Mi of 61.8Gi are free",
    ),
    f"{GITHUB}/ray-project/kuberay/issues/1414": Report(
        failed(
            "UnexpectedAdmissionError",
            "Pod Allocate failed due to pod d65f09ad-cca3-4631-a0a3-d5ba850f8a69 container "
            "wait-gcs-ready unable to find GPU device allocation by scheduler, which is unexpected",
        ),
        "UnexpectedAdmissionError",
        "Node gpu-1 rejected it: pod d65f09ad-cca3-4631-a0a3-d5ba850f8a69 container "
        "wait-gcs-ready unable to find GPU device allocation by scheduler",
    ),
    "kubernetes v1.36 pkg/kubelet/lifecycle/predicate.go: InsufficientResourceError": Report(
        failed(
            "OutOfnvidia.com/gpu",
            "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu, requested: 8, "
            "used: 1, capacity: 8",
        ),
        "OutOfnvidia.com/gpu",
        "Node gpu-1 rejected it: it requests 8 nvidia.com/gpu, but 7 of 8 are free",
    ),
    f"{GITHUB}/longhorn/longhorn/issues/6930": Report(
        failed("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"),
        "NodeAffinity",
        "Node gpu-1 rejected it: the node does not match its node selector or affinity",
    ),
    f"{GITHUB}/pytorch/ci-infra/issues/696": Report(
        failed(
            "TopologyAffinityError",
            "Pod was rejected: Resources cannot be allocated with Topology locality",
        ),
        "TopologyAffinityError",
        "Node gpu-1 rejected it: no NUMA node of the node has all devices and CPUs that it "
        "requests",
    ),
    f"{GITHUB}/capactio/capact/pull/679": Report(
        failed("NodeShutdown", "Pod was rejected as the node is shutting down."),
        "NodeShutdown",
        "Node gpu-1 rejected it: the node is shutting down",
    ),
    f"{K8S}/issues/113278": Report(
        failed("Terminated", "Pod was terminated in response to imminent node shutdown."),
        "Terminated",
        "Terminated because node gpu-1 shut down",
    ),
    f"{GITHUB}/kyverno/kyverno/issues/2869": Report(
        failed("Shutdown", "Node is shutting, evicting pods"),
        "Shutdown",
        "Terminated because node gpu-1 shut down",
    ),
    "kubernetes v1.36 pkg/kubelet/preemption/preemption.go: message": Report(
        failed("Preempting", "Preempted in order to admit critical pod"),
        "Preempting",
        "Node gpu-1 preempted it to admit a critical Pod",
    ),
}

IMAGE_REPORTS: dict[str, Report] = {
    f"{GITHUB}/hystax/optscale/issues/701": Report(
        pulling(
            'Container image "error_pages:local" is not present with pull policy of Never',
            "ErrImageNeverPull",
        ),
        "ErrImageNeverPull",
        "Image error_pages:local of inference-server is not present on node gpu-1, and its "
        "imagePullPolicy is Never",
    ),
    f"{GITHUB}/enix/kube-image-keeper/issues/60": Report(
        pulling(
            "rpc error: code = Unknown desc = failed to pull and unpack image "
            '"localhost:7439/docker.io/xxxsoftware/xxx-redis:2023.1.2": failed to resolve '
            'reference "localhost:7439/docker.io/xxxsoftware/xxx-redis:2023.1.2": failed to do '
            'request: Head "https://localhost:7439/v2/docker.io/xxxsoftware/xxx-redis/manifests/'
            '2023.1.2": http: '
            "server gave HTTP response to HTTPS client"
        ),
        "ImagePullBackOff",
        "Image localhost:7439/docker.io/xxxsoftware/xxx-redis:2023.1.2 of inference-server cannot "
        "be pulled: the registry answers with HTTP, but node gpu-1 uses HTTPS",
    ),
    f"{GITHUB}/rancher-archives/rke/issues/167": Report(
        pulling("rpc error: code = Unknown desc = unauthorized: authentication required"),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: the registry denies access; check "
        "imagePullSecrets",
    ),
    f"{K8S}/issues/95231": Report(
        pulling(
            "rpc error: code = Unknown desc = Error response from daemon: Get "
            "http://ip:port/v2/repository/docker/app/manifests/1.0: no basic auth credentials"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: the registry denies access; check "
        "imagePullSecrets",
    ),
    f"{GITHUB}/kata-containers/kata-containers/issues/10109": Report(
        pulling(
            "rpc error: code = Unknown desc = failed to pull and unpack image "
            '"docker.io/library/busybox:latest": failed to copy: httpReadSeeker: failed open: '
            "unexpected status code https://registry-1.docker.io/v2/library/busybox/manifests/"
            "sha256:50aa4698fa6262977cff89181b2664b99d8a56dbca847bf62f2ef04854597cf8: 429 Too Many "
            "Requests - Server message: toomanyrequests: You have reached your pull rate limit. "
            "You may increase the limit by authenticating and upgrading: "
            "https://www.docker.com/increase-rate-limit"
        ),
        "ImagePullBackOff",
        "Image docker.io/library/busybox:latest of inference-server cannot be pulled: the "
        "registry's pull rate limit is reached (429 Too Many Requests)",
    ),
    f"{GITHUB}/bank-vaults/bank-vaults/issues/1640": Report(
        pulling(
            "rpc error: code = Unknown desc = failed to pull and unpack image "
            '"ghcr.io/banzaicloud/vault-env:1.15.0": failed to copy: httpReaderSeeker: failed '
            "open: unexpected status code https://ghcr.io/v2/banzaicloud/vault-env/blobs/sha256:"
            "766c52bc20840538b2aa166e6f4ab30906ccb620ef58d7f49394eec61fbfe144: 401 Unauthorized - "
            "Server message: unauthorized: unauthenticated: User cannot be authenticated with the "
            "token provided."
        ),
        "ImagePullBackOff",
        "Image ghcr.io/banzaicloud/vault-env:1.15.0 of inference-server cannot be pulled: the "
        "registry denies access (401 Unauthorized); check imagePullSecrets",
    ),
    f"{GITHUB}/kubewarden/adm-controller/issues/1378": Report(
        pulling(
            "rpc error: code = NotFound desc = failed to pull and unpack image "
            '"ghcr.io/kubewarden/kubewarden-controller:latest": no match for platform in manifest: '
            "not found"
        ),
        "ImagePullBackOff",
        "Image ghcr.io/kubewarden/kubewarden-controller:latest of inference-server cannot be "
        "pulled: it is not built for the platform of node gpu-1",
    ),
    f"{GITHUB}/link-assistant/hive-mind/issues/962": Report(
        pulling(
            "Error response from daemon: no matching manifest for linux/arm64/v8 in the manifest "
            "list entries: no match for platform in manifest: not found"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: it is not built for the platform of node "
        "gpu-1",
    ),
    f"{GITHUB}/tableau/tableau-server-in-kubernetes/issues/14": Report(
        pulling(
            "rpc error: code = Unknown desc = failed to register layer: Error processing tar file"
            "(exit status 1): write /tableau-server-CENSORED.rpm: no space left on device"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: the disk of node gpu-1 is full (no space "
        "left on device)",
    ),
    f"{GITHUB}/Azure/AKS/issues/3138": Report(
        pending_pod(waiting("ImagePullBackOff", 'Back-off pulling image "a.b.c/image-0.1"')),
        "ImagePullBackOff",
        "Image a.b.c/image-0.1 of inference-server cannot be pulled yet: node gpu-1 pulls too many "
        "images at once (pull QPS exceeded)",
        (reported_event("Failed", 'Failed to pull image "a.b.c/image-0.1": pull QPS exceeded'),),
    ),
    f"{GITHUB}/crc-org/crc/issues/1376": Report(
        pulling(
            "rpc error: code = Unknown desc = error pinging docker registry "
            "default-route-openshift-image-registry.apps-crc.testing: Get https://default-route-"
            "openshift-image-registry.apps-crc.testing/v2/: x509: certificate signed by unknown "
            "authority"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: node gpu-1 does not trust the registry: "
        "certificate signed by unknown authority",
    ),
    f"{GITHUB}/hjacobs/kube-ops-view/issues/176": Report(
        pulling(
            "rpc error: code = Unknown desc = Error response from daemon: Get "
            "https://registry-1.docker.io/v2/: dial tcp: lookup registry-1.docker.io on "
            "127.0.0.53:53: server misbehaving"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: node gpu-1 cannot resolve the name of the "
        "registry registry-1.docker.io (server misbehaving)",
    ),
    f"{GITHUB}/UKHomeOffice/kb8or/issues/48": Report(
        pulling(
            'API error (500): invalid registry endpoint "http://10.101.100.100:30000/v0/". HTTPS '
            "attempt: unable to ping registry endpoint https://10.101.100.100:30000/v0/\nv2 ping "
            "attempt failed with error: Get https://10.101.100.100:30000/v2/: dial tcp "
            "10.101.100.100:30000: i/o timeout"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: the registry 10.101.100.100:30000 does "
        "not respond (i/o timeout)",
    ),
    f"{GITHUB}/kubevela/kubevela/pull/981": Report(
        pulling(
            "rpc error: code = Unknown desc = Error response from daemon: manifest for "
            "oamdev/vela-core:0.3.1 not found: manifest unknown: manifest unknown"
        ),
        "ImagePullBackOff",
        "The image of inference-server cannot be pulled: not found in the registry",
    ),
}

START_REPORTS: dict[str, Report] = {
    f"{GITHUB}/civicrm/civicrm-docker/issues/8": Report(
        starting(
            "CreateContainerConfigError",
            "container has runAsNonRoot and image has non-numeric user (admin), cannot verify user "
            'is non-root (pod: "xxx", container: container)',
        ),
        "CreateContainerConfigError",
        "inference-server cannot be created: its runAsNonRoot cannot be verified, because the "
        "image's user admin is not a number; set runAsUser",
    ),
    f"{GITHUB}/reportportal/kubernetes/issues/178": Report(
        starting("CreateContainerConfigError", 'secret "secretpostgresql" not found'),
        "CreateContainerConfigError",
        'inference-server cannot be created: secret "secretpostgresql" not found',
    ),
    f"{GITHUB}/cloudfoundry/eirini-release/issues/111": Report(
        starting("CreateContainerConfigError", 'secrets "secrets-2.16.4-1" not found'),
        "CreateContainerConfigError",
        'inference-server cannot be created: secret "secrets-2.16.4-1" not found',
    ),
    f"{GITHUB}/keptn/lifecycle-toolkit/issues/588": Report(
        starting(
            "CreateContainerConfigError",
            "couldn't find key SECURE_DATA in Secret default/deno-demo-secret",
        ),
        "CreateContainerConfigError",
        "inference-server cannot be created: Secret default/deno-demo-secret has no key "
        "SECURE_DATA",
    ),
    f"{GITHUB}/kubernetes-sigs/external-dns/issues/4003": Report(
        starting(
            "CreateContainerConfigError",
            'container has runAsNonRoot and image will run as root (pod: "external-dns-5bf5f97c4-'
            'bw7mg_kube-system(d7ec6cb8-d04d-4c40-b333-1b51c5b69219)", container: external-dns',
        ),
        "CreateContainerConfigError",
        "inference-server cannot be created: its image runs as root, which its runAsNonRoot does "
        "not allow",
    ),
    f"{K8S}/issues/61178": Report(
        starting(
            "CreateContainerConfigError",
            'failed to prepare subPath for volumeMount "flannel-net-conf" of container '
            '"kube-flannel"',
        ),
        "CreateContainerConfigError",
        "inference-server cannot be created: the subPath of its volume flannel-net-conf cannot be "
        "mounted",
    ),
    f"{GITHUB}/kubernetes-sigs/blob-csi-driver/issues/2138": Report(
        starting(
            "CreateContainerError",
            'failed to generate container "dbb453b03b44474fd27761430e3d7e04959b88b08c1a780828d306'
            'b98882ecb7" spec: failed to apply OCI options: failed to mkdir "/usr/local": mkdir '
            "/usr/local: read-only file system",
        ),
        "CreateContainerError",
        "inference-server cannot be created: /usr/local cannot be created, because the file system "
        "is read-only",
    ),
    f"{GITHUB}/kubernetes-sigs/dra-driver-nvidia-gpu/issues/736": Report(
        starting(
            "CreateContainerError",
            "failed to create containerd container: CDI device injection failed: unresolvable CDI "
            "devices k8s.gpu.nvidia.com/device=gpu-1",
        ),
        "CreateContainerError",
        "inference-server cannot be created: node gpu-1 has no CDI specification of "
        "k8s.gpu.nvidia.com/device=gpu-1",
    ),
    f"{GITHUB}/gpustack/gpustack/issues/4130": Report(
        start_error(
            "failed to create containerd task: failed to create shim task: OCI runtime create "
            "failed: could not apply required modification to OCI specification: error modifying "
            "OCI spec: failed to inject CDI devices: unresolvable CDI devices "
            "management.nvidia.com/gpu=0: unknown"
        ),
        "StartError",
        "inference-server could not start: node gpu-1 has no CDI specification of "
        "management.nvidia.com/gpu=0 (restarted 3 times)",
    ),
    f"{GITHUB}/NVIDIA/nvidia-container-toolkit/issues/260": Report(
        starting(
            "RunContainerError",
            "failed to create shim: OCI runtime create failed: container_linux.go:380: starting "
            "container process caused: process_linux.go:545: container init caused: Running hook "
            "#0:: error running hook: exit status 1, stdout: , stderr: nvidia-container-cli: "
            "initialization error: nvml error: driver not loaded: unknown.",
        ),
        "RunContainerError",
        "inference-server cannot be started: node gpu-1 cannot provide its NVIDIA GPUs: "
        "initialization error: nvml error: driver not loaded",
    ),
    f"{GITHUB}/NVIDIA/nvidia-docker/issues/1442": Report(
        starting(
            "RunContainerError",
            "Error response from daemon: OCI runtime create failed: container_linux.go:370: "
            "starting container process caused: process_linux.go:459: container init caused: "
            "Running hook #0:: error running hook: exit status 1, stdout: , stderr: "
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.0, please "
            "update your driver to a newer version, or use an earlier cuda container: unknown.",
        ),
        "RunContainerError",
        "inference-server cannot be started: its image needs cuda>=11.0, which the NVIDIA driver "
        "of node gpu-1 does not support",
    ),
    f"{GITHUB}/NVIDIA/nvidia-container-toolkit/issues/434": Report(
        starting(
            "RunContainerError",
            'Error response from daemon: could not select device driver "cdi" with capabilities: '
            "[].",
        ),
        "RunContainerError",
        "inference-server cannot be started: the NVIDIA Container Toolkit is not set up on node "
        "gpu-1 (could not select device driver)",
    ),
    f"{GITHUB}/envoyproxy/gateway/issues/5648": Report(
        start_error(
            "failed to create containerd task: failed to create shim task: OCI runtime create "
            "failed: runc create failed: unable to start container process: exec: "
            '"/usr/local/bin/envoy-gateway": permission denied: unknown'
        ),
        "StartError",
        'inference-server could not start: its user may not execute "/usr/local/bin/envoy-gateway"'
        " (permission denied) (restarted 3 times)",
    ),
    f"{GITHUB}/kubernetes/node-problem-detector/issues/797": Report(
        crashing_pod(1, message="exec /node-problem-detector: exec format error\n"),
        "exit code 1",
        "inference-server could not start: its image is built for another platform than that of "
        "node gpu-1 (exec format error) (restarted 3 times)",
    ),
    f"{GITHUB}/canonical/microk8s/issues/1942": Report(
        crashing_pod(
            1, message="standard_init_linux.go:219: exec user process caused: exec format error"
        ),
        "exit code 1",
        "inference-server could not start: its image is built for another platform than that of "
        "node gpu-1 (exec format error) (restarted 3 times)",
    ),
    f"{K8S}/issues/115680": Report(
        starting("PostStartHookError", ""),
        "PostStartHookError",
        "inference-server cannot be started: its postStart hook command '/bin/sh -c cp -r conf/* "
        './ mount -t cifs xxxx\' exited with 137: , message: ""',
        (
            reported_event(
                "FailedPostStartHook",
                "Exec lifecycle hook ([/bin/sh -c cp -r conf/* ./ mount -t cifs xxxxx ]) for "
                'Container "base" in Pod "xxxxxv1_test(617f30ff-da04-42c3-9251-2ca26b918e4c)" '
                "failed - error: command '/bin/sh -c cp -r conf/* ./ mount -t cifs xxxx' exited "
                'with 137: , message: ""',
            ),
        ),
    ),
}

EXIT_REPORTS: dict[str, Report] = {
    f"{GITHUB}/vllm-project/vllm/issues/1771": Report(
        crashing_pod(135),
        "exit code 135",
        "inference-server was terminated by SIGBUS (exit code 135): /dev/shm is probably too small "
        "(restarted 3 times)",
    ),
    f"{K8S}/issues/122256": Report(
        with_resources(crashing_pod(137), limits={"memory": "8Gi"}),
        "exit code 137",
        "inference-server was killed (exit code 137, SIGKILL): a process exceeded the memory limit "
        "of 8Gi, its node ran out of memory, or it did not stop within its grace period "
        "(restarted 3 times)",
    ),
    f"{GITHUB}/NatLibFi/Annif/issues/922": Report(
        crashing_pod(139),
        "exit code 139",
        "inference-server was terminated by SIGSEGV, a crash in native code (exit code 139) "
        "(restarted 3 times)",
    ),
    f"{GITHUB}/Project-HAMi/volcano-vgpu-device-plugin/issues/142": Report(
        crashing_pod(
            137,
            "ContainerStatusUnknown",
            "The container could not be located when the pod was terminated",
        ),
        "ContainerStatusUnknown",
        "inference-server ended in an unknown way: node gpu-1 has lost its state (restarted 3 "
        "times)",
    ),
    # -- probes that kill ---------------------------------------------------------------------
    f"{GITHUB}/vllm-project/vllm/issues/17386": probe_report(
        0,
        'Startup probe failed: Get "http://10.244.0.13:8000/health": dial tcp 10.244.0.13:8000: '
        "connect: connection refused",
        ran={"seconds": 152},
        probe=VLLM_PROBE,
        text="inference-server was killed because its startup probe failed: 10.244.0.13:8000: "
        "connection refused; it allows 2m25s for the start (restarted 5 times)",
    ),
    f"{GITHUB}/vllm-project/aibrix/issues/772": probe_report(
        1,
        'Startup probe failed: Get "http://10.244.0.13:8000/health": dial tcp 10.244.0.13:8000: '
        "connect: connection refused",
        ran={"minutes": 3},
        text="inference-server was killed because its startup probe failed: 10.244.0.13:8000: "
        "connection refused (restarted 5 times)",
    ),
    f"{GITHUB}/llm-d/llm-d-inference-sim/issues/45": probe_report(
        143,
        "Liveness probe failed: HTTP probe failed with statuscode: 404",
        ran={"minutes": 2},
        reason="liveness probe failed",
        kind="livenessProbe",
        probe={"periodSeconds": 10, "failureThreshold": 3},
        text="inference-server was killed because its liveness probe failed: HTTP status 404 "
        "(restarted 5 times)",
    ),
    f"{GITHUB}/vllm-project/aibrix/issues/1054": Report(
        pod(running(ready=False, started=False, started_at=ago(minutes=1))),
        "Starting",
        "inference-server is not ready: startup probe failed: 10.244.0.13:8000: connection refused",
        (
            reported_event(
                "Unhealthy",
                'Startup probe failed: Get "http://10.244.0.13:8000/health": dial tcp '
                "10.244.0.13:8000: connect: connection refused",
            ),
        ),
    ),
}

SCHEDULING_REPORTS: dict[str, Report] = {
    f"{GITHUB}/Duke-GCB/calrissian/issues/154": Report(
        unscheduled_pod(
            'running PreBind plugin "VolumeBinding": binding volumes: timed out waiting for the '
            "condition"
        ),
        "Unschedulable",
        "Its volumes cannot be bound: timed out waiting for the condition",
    ),
    f"{GITHUB}/aws/karpenter-provider-aws/issues/6447": Report(
        unscheduled_pod(
            "0/20 nodes are available: 1 node(s) had untolerated taint {windowsContainers: true}, "
            "2 node(s) had untolerated taint {eks.amazonaws.com/compute-type: fargate}, 4 node(s) "
            "didn't match Pod's node affinity/selector, 4 node(s) didn't match pod anti-affinity "
            "rules, 9 node(s) didn't match pod topology spread constraints. preemption: 0/20 nodes "
            "are available: 13 No preemption victims found for incoming pod, 7 Preemption is not "
            "helpful for scheduling."
        ),
        "Unschedulable",
        "0 of 20 nodes fit: 1 with an untolerated taint (windowsContainers: true), 2 with an "
        "untolerated taint (eks.amazonaws.com/compute-type: fargate), 4 outside its node selector "
        "or affinity, 4 not matching its anti-affinity to other Pods, 9 not matching its topology "
        "spread constraints",
    ),
    f"{K8S}/issues/100400": Report(
        unscheduled_pod(
            "0/20 nodes are available: 1 node(s) didn't match pod affinity/anti-affinity, 19 "
            "node(s) didn't match node selector."
        ),
        "Unschedulable",
        "0 of 20 nodes fit: 1 that didn't match pod affinity/anti-affinity, 19 outside its node "
        "selector or affinity",
    ),
    f"{GITHUB}/aws/karpenter-provider-aws/issues/1887": Report(
        unscheduled_pod(
            "0/13 nodes are available: 1 Too many pods, 1 node(s) had taint {kubernetes.io/arch: "
            "arm64}, that the pod didn't tolerate, 1 node(s) were unschedulable, 5 node(s) exceed "
            "max volume count, 5 node(s) had taint {nd.group-name: kube-system}, that the pod "
            "didn't tolerate."
        ),
        "Unschedulable",
        "0 of 13 nodes fit: 1 at their maximum number of Pods, 1 with an untolerated taint "
        "(kubernetes.io/arch: arm64), 1 cordoned, 5 at their maximum number of volumes, 5 with an "
        "untolerated taint (nd.group-name: kube-system)",
    ),
    f"{GITHUB}/volcano-sh/volcano/issues/3191": Report(
        unscheduled_pod(
            "0/2 nodes are unavailable: 1 plugin NodeUnschedulable predicates failed node(s) were "
            "unschedulable, 1 plugin NodeVolumeLimits predicates failed node(s) exceed max volume "
            "count."
        ),
        "Unschedulable",
        "0 of 2 nodes fit: 1 cordoned, 1 at their maximum number of volumes",
    ),
    f"{GITHUB}/kubernetes-sigs/sig-storage-local-static-provisioner/issues/424": Report(
        unscheduled_pod(
            "0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ),
        "Unschedulable",
        "0 of 1 nodes fit: 1 without a volume for its PVC",
    ),
    f"{GITHUB}/datawire/edge-stack/issues/2": Report(
        unscheduled_pod(
            "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
        ),
        "Unschedulable",
        "0 of 2 nodes fit: 2 without its host port free",
    ),
    f"{GITHUB}/openebs/zfs-localpv/issues/453": Report(
        unscheduled_pod(
            "0/1 nodes are available: 1 node(s) did not have enough free storage. preemption: 0/1 "
            "nodes are available: 1 Preemption is not helpful for scheduling.."
        ),
        "Unschedulable",
        "0 of 1 nodes fit: 1 that did not have enough free storage",
    ),
    f"{GITHUB}/tkestack/gpu-manager/issues/24": Report(
        unscheduled_pod("0/2 nodes are available: 2 ExceedsGPUQuota."),
        "Unschedulable",
        "0 of 2 nodes fit: 2 rejected as ExceedsGPUQuota",
    ),
    f"{GITHUB}/hwameistor/hwameistor/issues/1742": Report(
        unscheduled_pod(
            "0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 not the "
            "published node. preemption: 0/2 nodes are available: 2 No preemption victims found "
            "for incoming pod."
        ),
        "Unschedulable",
        "0 of 2 nodes fit: 1 without enough free cpu, 1 without enough free memory, 1 rejected: "
        "not the published node",
    ),
    f"{GITHUB}/NVIDIA/k8s-device-plugin/issues/430": Report(
        with_resources(
            unscheduled_pod(
                "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are "
                "available: 1 No preemption victims found for incoming pod.."
            ),
            limits={"nvidia.com/gpu": "1"},
        ),
        "Unschedulable",
        "0 of 1 nodes fit: 1 without enough free nvidia.com/gpu; it requests 1 NVIDIA GPU on one "
        "node",
    ),
    f"{GITHUB}/yugabyte/yugabyte-db/pull/20349": Report(
        unscheduled_pod(
            "0/10 nodes are available: 3 node(s) had volume node affinity conflict, 7 node(s) "
            "didn't match Pod's node affinity/selector. preemption: 0/10 nodes are available: 10 "
            "Preemption is not helpful for scheduling.."
        ),
        "Unschedulable",
        "0 of 10 nodes fit: 3 outside its volume's node affinity, 7 outside its node selector or "
        "affinity",
    ),
    f"{GITHUB}/radondb/radondb-mysql-kubernetes/issues/395": Report(
        unscheduled_pod(
            "0/3 nodes are available: 1 node(s) had taint {node-role.kubernetes.io/master: }, that "
            "the pod didn't tolerate, 2 node(s) had volume node affinity conflict."
        ),
        "Unschedulable",
        "0 of 3 nodes fit: 1 with an untolerated taint (node-role.kubernetes.io/master), 2 outside "
        "its volume's node affinity",
    ),
    f"{GITHUB}/hystax/optscale/issues/568": Report(
        unscheduled_pod(
            "0/1 nodes are available: 1 node(s) had untolerated taint "
            "{node.kubernetes.io/unreachable: }. preemption: 0/1 nodes are available: 1 Preemption "
            "is not helpful for scheduling."
        ),
        "Unschedulable",
        "0 of 1 nodes fit: 1 with an untolerated taint (node.kubernetes.io/unreachable)",
    ),
    f"{GITHUB}/minio/directpv/issues/100": Report(
        unscheduled_pod(
            "0/4 nodes are available: 4 pod has unbound immediate PersistentVolumeClaims."
        ),
        "Unschedulable",
        "It cannot be scheduled: a PVC of it is not bound to a volume (unbound immediate "
        "PersistentVolumeClaims)",
    ),
    f"{GITHUB}/open-metadata/openmetadata-helm-charts/issues/417": Report(
        unscheduled_pod(
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. "
            "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling"
        ),
        "Unschedulable",
        "It cannot be scheduled: a PVC of it is not bound to a volume (unbound immediate "
        "PersistentVolumeClaims)",
    ),
    f"{GITHUB}/kubeflow/community-distribution/issues/1956": Report(
        unscheduled_pod(
            '0/3 nodes are available: 3 persistentvolumeclaim "authservice-pvc" not found.'
        ),
        "Unschedulable",
        'It cannot be scheduled: persistentvolumeclaim "authservice-pvc" not found',
    ),
}

UNMOUNTED = (
    "Unable to attach or mount volumes: unmounted volumes=[premiumdisk], unattached "
    "volumes=[kube-api-access-f9q7s premiumdisk]: timed out waiting for the condition"
)
SETUP_REPORTS: dict[str, Report] = {
    f"{GITHUB}/linode/linode-blockstorage-csi-driver/issues/88": setup_report(
        "FailedAttachVolume",
        'A volume cannot be attached: volume "pvc-35f1d10136bb4a2f": timed out waiting for '
        "external-attacher of linodebs.csi.linode.com CSI driver to attach volume "
        "757935-pvc35f1d10136bb4a2f",
        reported_event(
            "FailedAttachVolume",
            'AttachVolume.Attach failed for volume "pvc-35f1d10136bb4a2f" : timed out waiting for '
            "external-attacher of linodebs.csi.linode.com CSI driver to attach volume "
            "757935-pvc35f1d10136bb4a2f",
        ),
    ),
    f"{K8S}/pull/74026": setup_report(
        "FailedMapVolume",
        'A volume cannot be mounted: volume "pvc-82051086-eb98-4dd0-941a-1512bc438278": device not '
        "found",
        reported_event(
            "FailedMapVolume",
            'MapVolume.MapBlockVolume failed for volume "pvc-82051086-eb98-4dd0-941a-1512bc438278" '
            ": device not found",
        ),
    ),
    f"{K8S}/issues/53059": setup_report(
        "FailedAttachVolume",
        "A volume cannot be attached: pvc-267f63a2-53f3-4647-aec8-527281b393c3 is still in use by "
        "Pod nxs-864dc474b5-rrk2m on another node",
        reported_event(
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-267f63a2-53f3-4647-aec8-527281b393c3" Volume is '
            "already used by pod(s) nxs-864dc474b5-rrk2m",
            minutes=26,
        ),
        reported_event("FailedMount", UNMOUNTED, minutes=2),
        reported_event("FailedMount", UNMOUNTED.replace("premiumdisk", "nxs-data")),
    ),
    f"{GITHUB}/digitalocean/csi-digitalocean/issues/270": setup_report(
        "FailedAttachVolume",
        "A volume cannot be attached: pvc-ad303050-47c1-421e-8de1-bb57ff930125 is still attached "
        "to another node",
        reported_event(
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-ad303050-47c1-421e-8de1-bb57ff930125" Volume is '
            "already exclusively attached to one node and can't be attached to another",
            minutes=20,
        ),
        reported_event("FailedMount", UNMOUNTED),
    ),
    f"{GITHUB}/hetznercloud/csi-driver/issues/34": setup_report(
        "FailedAttachVolume",
        'A volume cannot be attached: volume "pvc-9b8b9ad0-50b3-11e9-b9f7-9600001dedca": rpc '
        "error: code = Internal desc = failed to publish volume: volume is already attached to a "
        "server, please detach it first (service_error)",
        reported_event(
            "FailedAttachVolume",
            'AttachVolume.Attach failed for volume "pvc-9b8b9ad0-50b3-11e9-b9f7-9600001dedca" : '
            "rpc error: code = Internal desc = failed to publish volume: volume is already "
            "attached to a server, please detach it first (service_error)",
        ),
        reported_event("FailedMount", UNMOUNTED, seconds=11),
    ),
    f"{GITHUB}/projectcontour/contour/issues/3548": setup_report(
        "FailedMount",
        'A volume cannot be mounted: volume "contourcert": secret "contourcert" not found',
        reported_event(
            "FailedMount",
            'MountVolume.SetUp failed for volume "contourcert" : secret "contourcert" not found',
            minutes=1,
        ),
        reported_event("FailedMount", UNMOUNTED),
    ),
    f"{GITHUB}/juicedata/juicefs-operator/issues/39": setup_report(
        "FailedMount",
        'A volume cannot be mounted: volume "init-config": its secret has no key initconfig',
        reported_event(
            "FailedMount",
            'MountVolume.SetUp failed for volume "init-config" : references non-existent secret '
            "key: initconfig",
        ),
    ),
    f"{GITHUB}/ceph/ceph-csi/issues/710": setup_report(
        "FailedMount",
        'A volume cannot be mounted: volume "pvc-5d317451-01f2-11ea-b95f-eeeeeeeeeeee": the CSI '
        "driver rbd.csi.ceph.com is not registered on node gpu-1",
        reported_event(
            "FailedMount",
            "MountVolume.MountDevice failed for volume "
            '"pvc-5d317451-01f2-11ea-b95f-eeeeeeeeeeee" : driver name rbd.csi.ceph.com not found '
            "in the list of registered CSI drivers",
            minutes=2,
        ),
        reported_event(
            "FailedMount",
            'Unable to mount volumes for pod "csi-rbd-demo-pod_default(3ebccfa7-01f4-11ea-b95f-'
            'eeeeeeeeeeee)": timeout expired waiting for volumes to attach or mount for pod '
            '"default"/"csi-rbd-demo-pod". list of unmounted volumes=[mypvc]. list of unattached '
            "volumes=[mypvc default-token-rlwk8]",
        ),
    ),
    f"{K8S}/issues/108963": setup_report(
        "FailedMount",
        'A volume cannot be mounted: volume "pv01": mount.nfs: access denied by server while '
        "mounting 192.168.43.16:/nfs_share",
        reported_event(
            "FailedMount",
            'MountVolume.SetUp failed for volume "pv01" : mount failed: exit status 32\nMounting '
            "command: mount\nMounting arguments: -t nfs 192.168.43.16:/nfs_share /var/lib/kubelet/"
            "pods/c9c0e520-2c9c-4970-b41e-90d4d6d38ead/volumes/kubernetes.io~nfs/pv01\nOutput: "
            "mount.nfs: access denied by server while mounting 192.168.43.16:/nfs_share",
        ),
    ),
    f"{GITHUB}/aws/amazon-vpc-cni-k8s/issues/1791": setup_report(
        "FailedCreatePodSandBox",
        "The Pod's sandbox cannot be created: node gpu-1 has no free IP address for it",
        reported_event(
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to set up "
            'sandbox container "efafab567a68ffb237e67050c4d70d2d1084bf1aca3631b74e5a0802146d150a" '
            'network for pod "xxx-9d8b7c98d-j8ldn": networkPlugin cni failed to set up pod '
            '"xxx-9d8b7c98d-j8ldn_default" network: add cmd: failed to assign an IP address to '
            "container",
        ),
    ),
    f"{GITHUB}/NVIDIA/gpu-operator/issues/730": setup_report(
        "FailedCreatePodSandBox",
        "The Pod's sandbox cannot be created: the container runtime of node gpu-1 has no handler "
        '"nvidia" (runtimeClassName)',
        reported_event(
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox "
            'runtime: no runtime for "nvidia" is configured',
        ),
    ),
    f"{GITHUB}/rancher/rke2/issues/4476": setup_report(
        "NetworkNotReady",
        "The node's network is not ready: network is not ready: container runtime network not "
        "ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns "
        "error: cni plugin not initialized",
        reported_event(
            "NetworkNotReady",
            "network is not ready: container runtime network not ready: NetworkReady=false "
            "reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not "
            "initialized",
        ),
    ),
    f"{GITHUB}/kubernetes-sigs/dra-driver-nvidia-gpu/issues/814": setup_report(
        "FailedPrepareDynamicResources",
        "A claimed device cannot be prepared: the DRA driver compute-domain.nvidia.com is not "
        "registered on node gpu-1",
        reported_event(
            "FailedPrepareDynamicResources",
            "Failed to prepare dynamic resources: prepare dynamic resources: DRA driver "
            "compute-domain.nvidia.com is not registered",
        ),
    ),
    f"{GITHUB}/kubernetes-sigs/dra-driver-nvidia-gpu/pull/1218": setup_report(
        "FailedPrepareDynamicResources",
        "A claimed device cannot be prepared: prepare dynamic resources: NodePrepareResources: rpc "
        "error: code = DeadlineExceeded desc = context deadline exceeded",
        reported_event(
            "FailedPrepareDynamicResources",
            "Failed to prepare dynamic resources: prepare dynamic resources: "
            "NodePrepareResources: rpc error: code = DeadlineExceeded desc = context deadline "
            "exceeded",
        ),
    ),
}

REPORTS: dict[str, Report] = {
    **POD_STATUS_REPORTS,
    **IMAGE_REPORTS,
    **START_REPORTS,
    **EXIT_REPORTS,
    **SCHEDULING_REPORTS,
    **SETUP_REPORTS,
}

CREATION_REPORTS: dict[str, tuple[str, str]] = {
    f"{GITHUB}/hmcts/cnp-flux-config/pull/2122": (
        'pods "test-pod" is forbidden: exceeded quota: money-claims-quota, requested: '
        "requests.cpu=20,requests.memory=60Gi, used: requests.cpu=32575m,requests.memory=90368Mi, "
        "limited: requests.cpu=50,requests.memory=140Gi",
        "No Pod can be created: exceeded quota: money-claims-quota, requested: requests.cpu=20,"
        "requests.memory=60Gi, used: requests.cpu=32575m,requests.memory=90368Mi, limited: "
        "requests.cpu=50,requests.memory=140Gi",
    ),
    f"{GITHUB}/kubeflow/pipelines/issues/7699": (
        'pods "example-pipeline-vlklw-3223166133" is forbidden: failed quota: kf-resource-quota: '
        "must specify cpu,memory",
        "No Pod can be created: failed quota: kf-resource-quota: must specify cpu,memory",
    ),
    f"{GITHUB}/harn3ss/open-infra/issues/9": (
        'pods "demo-chat-..." is forbidden: maximum memory usage per Container is 4Gi, but limit '
        "is 8Gi",
        "No Pod can be created: maximum memory usage per Container is 4Gi, but limit is 8Gi",
    ),
    f"{GITHUB}/open-policy-agent/gatekeeper/issues/2633": (
        'Error creating: pods "gatekeeper-controller-manager-75578bc95d-pc2wp" is forbidden: '
        'violates PodSecurity "restricted:v1.24": host namespaces (hostNetwork=true), hostPort '
        '(container "manager" uses hostPorts 8443, 8888, 9090) ',
        'No Pod can be created: violates PodSecurity "restricted:v1.24": host namespaces '
        '(hostNetwork=true), hostPort (container "manager" uses hostPorts 8443, 8888, 9090)',
    ),
    f"{GITHUB}/uoe-eidf-cluster-users/eidf-epcc-cluster/issues/26": (
        'admission webhook "validation.gatekeeper.sh" denied the request: [userpodlimits] '
        "container <cudasample> has no cpu limit, please see https://kubernetes.io/docs/concepts/"
        "configuration/manage-resources-containers/",
        "No Pod can be created: the admission webhook validation.gatekeeper.sh denied it: "
        "[userpodlimits] container <cudasample> has no cpu limit, please see https://kubernetes."
        "io/docs/concepts/configuration/manage-resources-containers/",
    ),
    f"{GITHUB}/istio/istio/issues/13840": (
        'Internal error occurred: failed calling admission webhook "sidecar-injector.istio.io": '
        "Post https://istio-sidecar-injector.istio-system.svc:443/inject?timeout=30s: context "
        "deadline exceeded",
        "No Pod can be created: the admission webhook sidecar-injector.istio.io does not respond: "
        "context deadline exceeded",
    ),
    f"{K8S}/issues/92699": (
        "Timeout: request did not complete within requested timeout",
        "No Pod can be created: Timeout: request did not complete within requested timeout",
    ),
}


def replica_failure(message: str) -> dict[str, Any]:
    return condition("ReplicaFailure", "True", "FailedCreate", message)
