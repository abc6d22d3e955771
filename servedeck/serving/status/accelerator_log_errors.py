"""Known errors in logs: memory, accelerators, and the communication between them."""

from __future__ import annotations

from servedeck.serving.status.log_error import LogError

_VLLM = "https://github.com/vllm-project/vllm/issues/"
_MORE_GPUS = "use more GPUs (--tensor-parallel-size)"
_DEVICE_PLUGIN = (
    "Request an accelerator in the field accelerators; if there is one, check the driver and the "
    "container runtime of its node."
)

# fmt: off
MEMORY_ERRORS: tuple[LogError, ...] = (
    LogError(
        "cuda-out-of-memory-sampler",
        r"out of memory occurred when warming up (?:the )?sampler with (?P<count>\d+) dummy",
        "CUDA out of memory",
        "ran out of GPU memory when it warmed up the sampler with {count} requests",
        "Lower --max-num-seqs or --gpu-memory-utilization.",
        _VLLM + "14452", ("out of memory occurred",),
    ),
    LogError(
        "gpu-memory-in-use",
        r"[Ff]ree memory on device (?:\S+ )?\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup "
        r"is less than desired GPU memory utilization \((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB",
        "GPU memory in use",
        "needs {wanted} GiB of GPU memory (--gpu-memory-utilization {share}), but only {free} of "
        "{total} GiB are free",
        "Stop the other process that uses the GPU, or lower --gpu-memory-utilization.",
        "https://github.com/pytorch/pytorch/issues/175666", ("on startup is less than",),
    ),
    LogError(
        "cuda-out-of-memory",
        r"\b(?:CUDA|HIP) out of memory(?:\. Tried to allocate (?P<size>[\d.]+ [KMGT]?i?B))?"
        r"(?:.{0,80}?total capacity of (?P<total>[\d.]+ [KMGT]?i?B) of which "
        r"(?P<free>[\d.]+ [KMGT]?i?B) is free)?"
        r"|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY",
        "CUDA out of memory",
        "ran out of GPU memory[: tried to allocate {size}][, {free} of {total} was free]",
        f"Lower --max-model-len, --max-num-seqs or --gpu-memory-utilization, {_MORE_GPUS}, or a "
        "quantized model.",
        _VLLM + "28143", ("out of memory", "OUT_OF_MEMORY"),
    ),
    LogError(
        "model-length-over-kv-cache",
        r"max seq len \((?P<length>\d+)\), \((?P<needed>[\d.]+) GiB KV cache is needed, which is "
        r"larger than the available KV cache memory \((?P<free>[\d.]+) GiB\)"
        r"(?:.{0,80}?estimated maximum model length is (?P<fits>\d+))?",
        "KV cache too small",
        "needs {needed} GiB of KV cache for one request of {length} tokens (--max-model-len), but "
        "has {free} GiB",
        f"Lower --max-model-len[ to at most {{fits}}], raise --gpu-memory-utilization, or "
        f"{_MORE_GPUS}.",
        _VLLM + "34076", ("KV cache is needed",),
    ),
    LogError(
        "model-length-over-kv-cache-tokens",
        r"max seq len \((?P<length>\d+)\) is larger than the maximum number of tokens that can be "
        r"stored in KV cache \((?P<fits>\d+)\)",
        "KV cache too small",
        "needs room for {length} tokens (--max-model-len) in the KV cache, but only {fits} fit",
        f"Lower --max-model-len to at most {{fits}}, raise --gpu-memory-utilization, or "
        f"{_MORE_GPUS}.",
        _VLLM + "2418", ("stored in KV cache",),
    ),
    LogError(
        "no-memory-for-kv-cache",
        r"No available memory for the cache blocks",
        "No memory for the KV cache",
        "has no GPU memory left for the KV cache after loading the model",
        f"Raise --gpu-memory-utilization, lower --max-model-len, {_MORE_GPUS}, or a quantized "
        "model.",
        _VLLM + "10439", ("memory for the cache blocks",),
    ),
    LogError(
        "npu-out-of-memory",
        r"insufficient DRAM \(required: (?P<needed>\d+) bytes, available: (?P<free>\d+) bytes",
        "NPU out of memory",
        "ran out of NPU memory: needs {needed} bytes, has {free}",
        "Lower --max-model-len, or request more NPUs in the field accelerators.",
        "furiosa-llm-native 2026.4.0, npu-ir-common", ("insufficient DRAM",),
    ),
    LogError(
        "shared-memory-full",
        r"shared memory segment /dev/shm/\S+ \(size (?P<size>\d+)\), error: No space left"
        r"|insufficient shared memory \(shm\)|workers are out of shared memory",
        "Shared memory full",
        "ran out of shared memory (/dev/shm)[ when it asked for {size} bytes]",
        "Mount an emptyDir with medium Memory and a larger sizeLimit at /dev/shm (volume dshm).",
        "https://github.com/llm-d/llm-d/issues/352", ("shared memory",),
    ),
    LogError(
        "no-space-left",
        r"No space left on device(?: \(os error 28\))?(?:: '(?P<path>[^']{1,200})')?",
        "No space left on device",
        "ran out of disk space[ at {path}]",
        "Use a larger volume for the model cache (HF_HOME), or raise the ephemeral-storage limit.",
        "https://github.com/modelscope/ms-swift/issues/3551", ("No space left on device",),
    ),
    LogError(
        "host-out-of-memory",
        r"DefaultCPUAllocator: can't allocate memory: you tried to allocate (?P<size>\d+) bytes"
        r"|\[Errno 12\] Cannot allocate memory",
        "Out of memory",
        "could not allocate memory of its node[: {size} bytes]",
        "Raise the memory limit, or lower --swap-space and --cpu-offload-gb.",
        "https://github.com/tenstorrent/tt-metal/issues/30225",
        ("allocate memory",),
    ),
)
"""Memory of the accelerator, of the node, and on disk."""

ACCELERATOR_ERRORS: tuple[LogError, ...] = (
    LogError(
        "gpu-hardware",
        r"uncorrectable ECC error encountered|GPU has fallen off the bus",
        "GPU hardware error",
        "stopped because its GPU has a hardware error ({match})",
        "Move the Pod to another node, and have the GPU reset or replaced.",
        _VLLM + "5222", ("uncorrectable ECC error", "fallen off the bus"),
    ),
    LogError(
        "driver-too-old",
        r"The NVIDIA driver on your system is too old \(found version (?P<major>\d+?)0"
        r"(?P<minor>\d)0\)|CUDA driver version is insufficient for CUDA runtime version",
        "NVIDIA driver too old",
        "needs a newer NVIDIA driver than that of its node[, which supports CUDA {major}.{minor}]",
        "Use an image for the CUDA version of the node's driver, or update the driver.",
        "https://github.com/modelscope/FunASR/issues/2973", ("too old", "driver version is insuff"),
    ),
    LogError(
        "cuda-compatibility",
        r"Error 804: forward compatibility was attempted on non supported HW"
        r"|Error 803: system has unsupported display driver",
        "CUDA does not fit the driver",
        "uses a CUDA version that does not fit the NVIDIA driver of its node",
        "Use an image for the CUDA version of the node's driver, or update the driver.",
        "https://github.com/gpustack/gpustack/issues/1254", ("Error 804", "Error 803"),
    ),
    LogError(
        "fabric-manager",
        r"Error 802: system not yet initialized|cudaErrorSystemNotReady",
        "GPU fabric not ready",
        "cannot use the GPUs of its node: the NVIDIA fabric manager is not ready (CUDA error 802)",
        "Start nvidia-fabricmanager on the node, in the version of its driver.",
        "https://github.com/huggingface/huggingface_hub/issues/4128",
        ("Error 802", "SystemNotReady"),
    ),
    LogError(
        "no-kernel-image",
        r"no kernel image is available for execution on the device",
        "Image does not support the GPU",
        "contains no code for this model of GPU (no kernel image is available)",
        "Use an image that is built for the GPU's architecture, or nodes with another GPU.",
        _VLLM + "14452", ("no kernel image",),
    ),
    LogError(
        "unsupported-dtype",
        r"[Bb]float16 is only supported on GPUs with compute capability of at least (?P<least>[\d.]"
        r"+?)\. Your (?P<gpu>.{1,80}?) GPU has compute capability (?P<found>\d+\.\d+)",
        "bfloat16 not supported",
        "uses bfloat16, which {gpu} (compute capability {found}) does not support",
        "Add --dtype=half, or use nodes with GPUs of compute capability {least} or more.",
        "https://github.com/substratusai/vllm-docker/issues/37", ("float16 is only supported",),
    ),
    LogError(
        "unsupported-quantization",
        r"The quantization method (?P<method>\S+) is not supported for the current GPU\. Minimum "
        r"capability: (?P<least>\d+)\. Current capability: (?P<found>\d+)",
        "Quantization not supported",
        "uses the quantization {method}, which needs a GPU of compute capability {least} or more; "
        "this one has {found} (70 is 7.0)",
        "Use a model with another quantization, or nodes with newer GPUs.",
        _VLLM + "4327", ("quantization method",),
    ),
    LogError(
        "unsupported-quantization-scheme",
        r"Quantization scheme is not supported for.{1,30}?current GPU.{1,12}?Min capability: "
        r"(?P<least>\d+).{1,12}?Current capability: (?P<found>\d+)",
        "Quantization not supported",
        "uses a quantization that needs a GPU of compute capability {least} or more; this one has "
        "{found} (70 is 7.0)",
        "Use a model with another quantization, or nodes with newer GPUs.",
        _VLLM + "14040", ("Quantization scheme",),
    ),
    LogError(
        "tensor-parallel-size-heads",
        r"[Tt]otal number of attention heads \((?P<heads>\d+)\) must be divisible by tensor "
        r"parallel size \((?P<size>\d+)\)",
        "Tensor parallel size",
        "cannot split the {heads} attention heads of the model over --tensor-parallel-size {size}",
        "Set --tensor-parallel-size to a divisor of {heads}.",
        _VLLM + "2652", ("must be divisible by tensor",),
    ),
    LogError(
        "too-few-gpus",
        r"(?:World size|world_size) \((?P<size>\d+)\) (?:is larger than the number of available "
        r"GPUs|is less than than max local gpu count|must be less than or equal to the number of "
        r"visible devices) \((?P<gpus>\d+)\)",
        "Too few GPUs",
        "wants {size} GPUs, but its Pod has {gpus}",
        "Set the field accelerators to {size}, or lower --tensor-parallel-size and "
        "--pipeline-parallel-size.",
        _VLLM + "15217", ("orld size", "world_size"),
    ),
    LogError(
        "too-few-npus",
        r"Not enough devices to run the model\. Required PEs: (?P<size>\d+), Actual: "
        r"(?P<found>\d+)",
        "Too few NPUs",
        "needs {size} processing elements of NPUs, but its Pod has {found}",
        "Raise the field accelerators, or lower --tensor-parallel-size and "
        "--pipeline-parallel-size.",
        "furiosa-llm-native 2026.4.0, furiosa-llm-common/src/device.rs", ("Not enough devices to",),
    ),
    LogError(
        "npu-not-usable",
        r"failed to open any NPU: (?P<why>.{1,160})",
        "NPU not usable",
        "cannot open an NPU: {why}",
        "Request an NPU in the field accelerators; if there is one, check the driver of its node, "
        "and whether another process uses it.",
        "furiosa-llm-native 2026.4.0, furiosa-hal2", ("failed to open any NPU",),
    ),
    LogError(
        "npu-not-found",
        r"Failed to get available devices with error (?P<why>.{1,160})",
        "NPU not found",
        "cannot list the NPUs of its node: {why}",
        _DEVICE_PLUGIN, "furiosa-llm 2026.4.0, furiosa_llm/utils.py",
        ("Failed to get available devices",),
    ),
    LogError(
        "gpu-busy",
        r"CUDA-capable device\(s\) is/are busy or unavailable"
        r"|all CUDA-capable devices are busy or unavailable",
        "GPU busy",
        "cannot use its GPU, which is busy or unavailable",
        "Stop the other process on the GPU; if there is none, check the GPU's compute mode and "
        "health.",
        "https://github.com/hiyouga/LlamaFactory/issues/10240", ("busy or unavailable",),
    ),
    LogError(
        "no-gpu",
        r"Failed to infer device type|No CUDA GPUs are available|NVML Shared Library Not Found"
        r"|Found no NVIDIA driver on your system"
        r"|libcuda\.so\.1: cannot open shared object file",
        "No GPU found",
        "found no GPU",
        _DEVICE_PLUGIN, _VLLM + "23935",
        ("infer device type", "No CUDA GPUs", "NVML Shared", "no NVIDIA driver", "libcuda.so.1"),
    ),
)
"""Devices that are missing, unsuitable or defective."""

COMMUNICATION_ERRORS: tuple[LogError, ...] = (
    LogError(
        "nccl-timeout",
        r"Watchdog caught collective operation timeout: WorkNCCL\((?:.{1,80}?OpType=(?P<operation>"
        r"\w+))?(?:.{1,160}?ran for (?P<time>\d+) milliseconds)?",
        "NCCL timeout",
        "stopped because its GPUs did not finish an NCCL operation in time[: {operation}, "
        "{time} ms]",
        "Check whether another rank failed before. If none did, check the GPU interconnect: set "
        "NCCL_DEBUG=INFO, and try NCCL_P2P_DISABLE=1 or --disable-custom-all-reduce.",
        _VLLM + "6042", ("Watchdog caught",),
    ),
    LogError(
        "rendezvous-timeout",
        r"The client socket has timed out after (?P<time>\d+) ?ms while trying to connect to "
        r"\((?P<address>[^)]{1,80})\)",
        "Other rank not reached",
        "could not connect to the other ranks at {address} within {time} ms",
        "Check that all Pods of the group run, and that no NetworkPolicy blocks them; set "
        "NCCL_SOCKET_IFNAME and VLLM_HOST_IP if there are several networks.",
        _VLLM + "19670", ("client socket has timed out",),
    ),
    LogError(
        "nccl-error",
        r"NCCL error(?: in)?: .{0,160}?(?P<error>unhandled (?:system|cuda) error|internal error"
        r"|invalid usage|remote process exited)",
        "NCCL error",
        "stopped with an NCCL error: {error}",
        "Set NCCL_DEBUG=INFO for the reason; check /dev/shm, the GPU interconnect and "
        "NCCL_SOCKET_IFNAME.",
        _VLLM + "7896", ("NCCL error",),
    ),
    LogError(
        "cuda-error",
        r"CUDA error: (?P<error>an illegal memory access was encountered|device-side assert "
        r"triggered|unspecified launch failure|misaligned address|an illegal instruction was "
        r"encountered)",
        "CUDA error",
        "stopped with a CUDA error: {error}",
        "Try another version of the image, or --enforce-eager; if it happens on one node only, "
        "have its GPU checked.",
        _VLLM + "24430", ("CUDA error: ",),
    ),
)
"""Between ranks, and errors of CUDA that say little: symptoms of an error above, if there is
one."""
# fmt: on
