"""Accelerators that Kubernetes exposes as extended resources, and their display names."""

from __future__ import annotations

import re
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
    Accelerator("Intel NPU", "npu.intel.com/accel"),
    Accelerator("IBM Spyre", "ibm.com/spyre_pf"),
    Accelerator("IBM Spyre", "ibm.com/spyre_vf"),
    Accelerator("Hygon DCU", "hygon.com/dcu"),
    Accelerator("Hygon DCU", "hygon.com/dcunum"),
    Accelerator("Enflame GCU", "enflame.com/gcu"),
    Accelerator("Cambricon MLU", "cambricon.com/vmlu"),
)
"""Known accelerators; those that the create form supports first."""

ACCELERATORS_BY_RESOURCE = {accelerator.resource: accelerator for accelerator in ACCELERATORS}

_FAMILIES = (
    ("Huawei Ascend {}", r"huawei\.com/[Aa]scend-?(\d+[A-Z]?\d?(?:-\d+c(?:\.\w+)*)?)"),
    ("Rebellions {}", r"rebellions\.ai/([\w-]+)"),
    ("Tenstorrent {}", r"tenstorrent\.com/(\w+)"),
    ("AMD GPU {}", r"amd\.com/([sdqc]px_nps\d+)"),
    ("Cambricon {}", r"cambricon\.com/(mlu\d+(?:\.mim-[\w.-]+)?)"),
)
"""Display names and patterns of resources that device plugins name after the model of a device, or
after a part of it: AMD's with the naming strategy "mixed" (its documentation, Configuration),
Ascend's with the number of cores. Shares of a device's memory and cores (`…-memory`) are none."""
_FAMILY_PATTERNS = [(name, re.compile(pattern, re.ASCII)) for name, pattern in _FAMILIES]

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
    if _family_name(resource):
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
    return _family_name(resource) or resource.removeprefix(_DEVICE_CLASS_PREFIX)


def _family_name(resource: str) -> str:
    for name, pattern in _FAMILY_PATTERNS:
        if found := pattern.fullmatch(resource):
            return name.format(found[1])
    return ""
