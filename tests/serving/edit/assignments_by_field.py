"""A change of each common field as text, and what it may change in the objects."""

from __future__ import annotations

from servedeck.serving.spec.templates.base import to_snake_case

PROBES = ("readinessProbe", "startupProbe", "livenessProbe")
PORT = ("command", "args", "ports", "Probe", "lifecycle", "PREDICTOR_URL")

ASSIGNMENTS: list[tuple[str, tuple[str, ...]]] = [
    ("description=changed", ("metadata.annotations",)),
    ("objectives=p95=2s errors=1%", ("metadata.annotations",)),
    ("revisionOf=llama", ("metadata.labels",)),
    ("image=registry.example.com/mirror/llm:2", ("image",)),
    ("cpu=3", ("requests[cpu]", "resources")),
    ("cpuLimit=300", ("resources",)),
    ("memory=48Gi", ("resources",)),
    ("memoryLimit=900Gi", ("resources",)),
    ("accelerator=amd.com/gpu", ("resources", "tolerations")),
    ("acceleratorCount=4", ("resources",)),
    ("replicas=7", ("spec.replicas",)),
    ("settings.model=org/new", ("command", "args")),
    ("settings.tensorParallelSize=4", ("command", "args", "sizeLimit")),
    ("settings.maxModelLen=4096", ("command", "args")),
    ("settings.additionalArguments=--new 1", ("command", "args")),
    ("volumes./new=pvc-new", ("volumeMounts", "volumes")),
    ("inferencePort=8123", PORT),
    ("command=python3 -m other", ("command", "args")),
    ("rollout=surge", ("strategy",)),
    ("rollout=recreate", ("strategy",)),
    ("readinessPath=/ready", PROBES[:2]),
    ("livenessPath=/live", PROBES[1:]),
    ("startupPath=/startup", ("startupProbe",)),
    ("startupSeconds=645", ("startupProbe", "progressDeadlineSeconds")),
    ("readinessTimes=period=7 delay=30s", ("readinessProbe",)),
    ("livenessTimes=failures=9", ("livenessProbe",)),
    ("sharedMemory=3Gi", ("sizeLimit", "volumes", "volumeMounts")),
    ("modelCachePath=/cache", ("volumes", "volumeMounts", "env")),
    ("fsGroup=1001", ("securityContext",)),
    ("nodeSelector=zone=eu-1,gpu.example.com/model=h100", ("nodeSelector",)),
    ("tolerations=team=ml:NoSchedule spot:NoExecute:300s", ("tolerations",)),
    ("runtimeClass=nvidia", ("runtimeClassName",)),
    ("imagePullSecrets=registry mirror", ("imagePullSecrets",)),
    ("serviceAccount=models", ("serviceAccount",)),
    ("resourceClaims=gpu=template/h100", ("resourceClaims", "claims", "resources")),
    ("env.NEW=1", ("env",)),
    ("env.NEW.secret=hf/token", ("env",)),
    ("transformer.image=transformer:2", ("containers", "ports")),
]
"""The assignment, and parts of the paths of which each change has one."""

_GATE = ("metadata.annotations", "readinessGates")
SETTING_ASSIGNMENTS: list[tuple[str, str, tuple[str, ...]]] = [
    ("autoScaling=response-time", "", ()),
    ("minReplicas=2", "autoScaling=response-time", ()),
    ("maxReplicas=4", "autoScaling=response-time", ()),
    ("scaleInDelay=120", "autoScaling=response-time", ()),
    ("targetResponseTime=2000", "autoScaling=response-time", ()),
    ("targetWaiting=3", "autoScaling=waiting-requests", ()),
    ("loadBalancing=least-requests", "", ()),
    ("loadBalancingHeader=X-Session-Id", "loadBalancing=header", ()),
    ("temperaturePolicy=on", "", _GATE),
    ("temperatureThreshold=80", "temperaturePolicy=on", _GATE),
    ("temperatureRecovery=70", "temperaturePolicy=on", _GATE),
    ("temperatureSeconds=30", "temperaturePolicy=on", _GATE),
]
"""The same of settings, each with the assignment that it needs beside it ("" for none). They need
more of a cluster than the others: KEDA, Prometheus, Istio, the controller of the temperature
policy."""


def field_of(assignment: str) -> str:
    """Name of the common field."""
    name = assignment.partition("=")[0].partition(".")[0]
    return to_snake_case(name)
