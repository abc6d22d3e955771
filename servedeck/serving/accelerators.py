"""Accelerators that Kubernetes exposes as extended resources, and their display names."""

from __future__ import annotations

from typing import NamedTuple


class Accelerator(NamedTuple):
    name: str
    resource: str
    """Key of the extended resource that the device plugin registers."""


ACCELERATORS = (
    Accelerator("NVIDIA GPU", "nvidia.com/gpu"),
    Accelerator("Furiosa RNGD", "furiosa.ai/rngd"),
    Accelerator("NVIDIA GPU (shared)", "nvidia.com/gpu.shared"),
    Accelerator("AMD GPU", "amd.com/gpu"),
    Accelerator("Intel GPU", "gpu.intel.com/i915"),
    Accelerator("Intel GPU", "gpu.intel.com/xe"),
    Accelerator("Intel Gaudi", "habana.ai/gaudi"),
    Accelerator("Google TPU", "google.com/tpu"),
    Accelerator("AWS Neuron", "aws.amazon.com/neuron"),
    Accelerator("AWS Neuron core", "aws.amazon.com/neuroncore"),
    Accelerator("AWS Neuron device", "aws.amazon.com/neurondevice"),
    Accelerator("Furiosa Warboy", "furiosa.ai/warboy"),
    Accelerator("Furiosa NPU", "furiosa.ai/npu"),
    Accelerator("Rebellions ATOM", "rebellions.ai/ATOM"),
    Accelerator("Rebellions NPU", "rebellions.ai/npu"),
    Accelerator("Huawei Ascend 910", "huawei.com/Ascend910"),
    Accelerator("Huawei Ascend 310P", "huawei.com/Ascend310P"),
    Accelerator("Qualcomm Cloud AI", "qualcomm.com/qaic"),
    Accelerator("Cambricon MLU", "cambricon.com/mlu"),
    Accelerator("Volcano vGPU", "volcano.sh/vgpu-number"),
)
"""Known accelerators; those that the create form supports first."""

ACCELERATORS_BY_RESOURCE = {accelerator.resource: accelerator for accelerator in ACCELERATORS}

_MIG_PREFIX = "nvidia.com/mig-"
_DEVICE_CLASS_PREFIX = "deviceclass.resource.kubernetes.io/"
"""Resources that dynamic resource allocation serves, each named after a DeviceClass (Kubernetes
documentation, Dynamic Resource Allocation, extended resources)."""
_KIND_SUFFIXES = ("gpu", "npu", "tpu", "xpu")


def is_accelerator(resource: str) -> bool:
    """Whether a resource key is an accelerator: a known one, a MIG slice, or a vendor's resource
    named after its kind (gpu, npu, ...)."""
    if resource in ACCELERATORS_BY_RESOURCE or resource.startswith(_MIG_PREFIX):
        return True
    domain, slash, kind = resource.partition("/")
    if resource.startswith(_DEVICE_CLASS_PREFIX):
        return kind.lower().partition(".")[0].endswith(_KIND_SUFFIXES)
    if not slash or "." not in domain or domain.endswith("kubernetes.io"):
        return False
    return kind.lower().partition(".")[0].endswith(_KIND_SUFFIXES)


def accelerator_display_name(resource: str) -> str:
    """Display name of an accelerator: "NVIDIA GPU", "NVIDIA MIG 1g.5gb"; the resource key if it is
    unknown."""
    known = ACCELERATORS_BY_RESOURCE.get(resource)
    if known is not None:
        return known.name
    if resource.startswith(_MIG_PREFIX):
        return f"NVIDIA MIG {resource.removeprefix(_MIG_PREFIX)}"
    return resource.removeprefix(_DEVICE_CLASS_PREFIX)
