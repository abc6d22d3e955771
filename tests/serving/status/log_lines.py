"""Lines of real logs as public reports show them, or as the source of the program writes them, by
the id of the known error that they say; and lines that look alike and say something else."""

# ruff: noqa: E501 - the servers' own lines

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    line: str
    text: str
    """The predicate that the line is shown as."""


REPORTED: dict[str, tuple[Case, ...]] = {
    "cuda-out-of-memory-sampler": (
        Case(
            "(VllmWorker rank=7 pid=10948) ERROR 03-16 06:12:38 [multiproc_executor.py:375] RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when initializing the engine.",
            "ran out of GPU memory when it warmed up the sampler with 1024 requests",
        ),
    ),
    "gpu-memory-in-use": (
        Case(
            "ValueError: Free memory on device (59.32/79.15 GiB) on startup is less than desired GPU memory utilization (0.9, 71.24 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "needs 71.24 GiB of GPU memory (--gpu-memory-utilization 0.9), but only 59.32 of 79.15 GiB are free",
        ),
        Case(
            "(EngineCore_DP0 pid=6940) ValueError: Free memory on device cuda:0 (19.77/22.05 GiB) on startup is less than desired GPU memory utilization (0.9, 19.84 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
            "needs 19.84 GiB of GPU memory (--gpu-memory-utilization 0.9), but only 19.77 of 22.05 GiB are free",
        ),
    ),
    "cuda-out-of-memory": (
        Case(
            "(EngineCore_DP0 pid=12473) ERROR 11-05 12:19:32 [linear.py:210] Failed to create unquantized linear weights: CUDA out of memory. Tried to allocate 896.00 MiB. GPU 0 has a total capacity of 93.09 GiB of which 739.81 MiB is free. Including non-PyTorch memory, this process has 92.34 GiB memory in use. Of the allocated memory 91.68 GiB is allocated by PyTorch, and 1.84 MiB is reserved by PyTorch but unallocated.",
            "ran out of GPU memory: tried to allocate 896.00 MiB, 739.81 MiB of 93.09 GiB was free",
        ),
        Case(
            "(EngineCore pid=112) ERROR 05-01 14:39:06 [core.py:1131] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB. GPU 0 has a total capacity of 23.56 GiB of which 21.75 MiB is free. Including non-PyTorch memory, this process has 23.50 GiB memory in use.",
            "ran out of GPU memory: tried to allocate 50.00 MiB, 21.75 MiB of 23.56 GiB was free",
        ),
        Case(
            "(VllmWorkerProcess pid=2421) ERROR 10-14 12:32:47 multiproc_worker_utils.py:233] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.88 GiB. GPU 3 has a total capacity of 21.96 GiB of which 1.29 GiB is free. Including non-PyTorch memory, this process has 0 bytes memory in use.",
            "ran out of GPU memory: tried to allocate 1.88 GiB, 1.29 GiB of 21.96 GiB was free",
        ),
    ),
    "model-length-over-kv-cache": (
        Case(
            "(EngineCore_DP0 pid=1094) ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available memory, the estimated maximum model length is 34736. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
            "needs 24.0 GiB of KV cache for one request of 262144 tokens (--max-model-len), but has 3.18 GiB",
        ),
        Case(
            "ERROR 04-05 01:12:55 [core.py:390] ValueError: To serve at least one request with the models's max seq len (1048576), (24.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.97 GiB). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
            "needs 24.00 GiB of KV cache for one request of 1048576 tokens (--max-model-len), but has 9.97 GiB",
        ),
    ),
    "model-length-over-kv-cache-tokens": (
        Case(
            "[rank0]: ValueError: The model's max seq len (60000) is larger than the maximum number of tokens that can be stored in KV cache (58384). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
            "needs room for 60000 tokens (--max-model-len) in the KV cache, but only 58384 fit",
        ),
        Case(
            "(VllmWorkerProcess pid=2144910) ERROR 01-12 08:36:38 multiproc_worker_utils.py:233] ValueError: The model's max seq len (131072) is larger than the maximum number of tokens that can be stored in KV cache (86432). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
            "needs room for 131072 tokens (--max-model-len) in the KV cache, but only 86432 fit",
        ),
    ),
    "no-memory-for-kv-cache": (
        Case(
            "vllm-1  | ERROR 11-18 18:07:28 engine.py:366] ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
            "has no GPU memory left for the KV cache after loading the model",
        ),
    ),
    "npu-out-of-memory": (
        Case(
            "RuntimeError: insufficient DRAM (required: 68719476736 bytes, available: 51539607552 bytes)",
            "ran out of NPU memory: needs 68719476736 bytes, has 51539607552",
        ),
    ),
    "shared-memory-full": (
        Case(
            "[2025-10-13 09:06:25] vllm-deepseek-ep-decode-0:3663:4044 [0] misc/shmutils.cc:129 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-Ewjreo (size 33030528), error: No space left on device (28)",
            "ran out of shared memory (/dev/shm) when it asked for 33030528 bytes",
        ),
        Case(
            "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
            "ran out of shared memory (/dev/shm)",
        ),
        Case(
            "RuntimeError: DataLoader worker (pid 46794) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.",
            "ran out of shared memory (/dev/shm)",
        ),
    ),
    "no-space-left": (
        Case(
            "[rank4]: OSError: [Errno 28] No space left on device",
            "ran out of disk space",
        ),
        Case(
            "[Errno 28] No space left on device: '~/.cache/huggingface/hub/models--lemonaddie--geowizard'",
            "ran out of disk space at ~/.cache/huggingface/hub/models--lemonaddie--geowizard",
        ),
    ),
    "host-out-of-memory": (
        Case(
            "ERROR 10-06 00:29:54 [engine.py:506] RuntimeError: [enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)",
            "could not allocate memory of its node: 4398046511104 bytes",
        ),
    ),
    "gpu-hardware": (
        Case(
            "RuntimeError: CUDA error: uncorrectable ECC error encountered",
            "stopped because its GPU has a hardware error (uncorrectable ECC error encountered)",
        ),
    ),
    "driver-too-old": (
        Case(
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx",
            "needs a newer NVIDIA driver than that of its node, which supports CUDA 12.8",
        ),
        Case(
            "RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx",
            "needs a newer NVIDIA driver than that of its node, which supports CUDA 11.4",
        ),
        Case(
            "E0812 05:45:01.326063 1 pinned_memory_manager.cc:192] failed to allocate pinned system memory: CUDA driver version is insufficient for CUDA runtime version",
            "needs a newer NVIDIA driver than that of its node",
        ),
    ),
    "cuda-compatibility": (
        Case(
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 804: forward compatibility was attempted on non supported HW",
            "uses a CUDA version that does not fit the NVIDIA driver of its node",
        ),
    ),
    "fabric-manager": (
        Case(
            "ERROR 02-20 16:43:12 engine.py:389] Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 802: system not yet initialized",
            "cannot use the GPUs of its node: the NVIDIA fabric manager is not ready (CUDA error 802)",
        ),
    ),
    "no-kernel-image": (
        Case(
            "ERROR 07-28 15:07:22 [core.py:632] RuntimeError: CUDA error: no kernel image is available for execution on the device",
            "contains no code for this model of GPU (no kernel image is available)",
        ),
    ),
    "unsupported-dtype": (
        Case(
            "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5. You can use float16 instead by explicitly setting the`dtype` flag in CLI, for example: --dtype=half.",
            "uses bfloat16, which Tesla T4 (compute capability 7.5) does not support",
        ),
        Case(
            "ERROR 2025-07-21 14:34:24.934 async_trtllm_engine_factory.py:62] Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Quadro RTX 6000 GPU has compute capability 7.5. You can use float16 instead by explicitly setting the `dtype` flag in CLI, for example: --dtype=half.",
            "uses bfloat16, which Quadro RTX 6000 (compute capability 7.5) does not support",
        ),
    ),
    "unsupported-quantization": (
        Case(
            "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 90. Current capability: 86.",
            "uses the quantization fp8, which needs a GPU of compute capability 90 or more; this one has 86 (70 is 7.0)",
        ),
    ),
    "unsupported-quantization-scheme": (
        Case(
            "RuntimeError: ('Quantization scheme is not supported for ', 'the current GPU. Min capability: 80. ', 'Current capability: 75.')",
            "uses a quantization that needs a GPU of compute capability 80 or more; this one has 75 (70 is 7.0)",
        ),
    ),
    "tensor-parallel-size-heads": (
        Case(
            "ValueError: Total number of attention heads (52) must be divisible by tensor parallel size (8).",
            "cannot split the 52 attention heads of the model over --tensor-parallel-size 8",
        ),
    ),
    "too-few-gpus": (
        Case(
            "Value error, World size (16) is larger than the number of available GPUs (8) in this node. If this is intentional and you are using:",
            "wants 16 GPUs, but its Pod has 8",
        ),
        Case(
            "RuntimeError: please ensure that world_size (2) is less than than max local gpu count (1)",
            "wants 2 GPUs, but its Pod has 1",
        ),
        Case(
            "(EngineCore_DP0 pid=570282) AssertionError: local_world_size (16) must be less than or equal to the number of visible devices (8).",
            "wants 16 GPUs, but its Pod has 8",
        ),
    ),
    "too-few-npus": (
        Case(
            "RuntimeError: Not enough devices to run the model. Required PEs: 16, Actual: 8, Devices: npu:0",
            "needs 16 processing elements of NPUs, but its Pod has 8",
        ),
    ),
    "npu-not-usable": (
        Case(
            "RuntimeError: failed to open any NPU: Device or resource busy",
            "cannot open an NPU: Device or resource busy",
        ),
    ),
    "npu-not-found": (
        Case(
            "RuntimeError: Failed to get available devices with error SmiError: device not found",
            "cannot list the NPUs of its node: SmiError: device not found",
        ),
    ),
    "gpu-busy": (
        Case(
            "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
            "cannot use its GPU, which is busy or unavailable",
        ),
    ),
    "no-gpu": (
        Case("RuntimeError: Failed to infer device type", "found no GPU"),
        Case(
            "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
            "found no GPU",
        ),
    ),
    "gated-model-not-granted": (
        Case(
            "Access to model google/gemma-3-4b-pt is restricted and you are not in the authorized list. Visit https://huggingface.co/google/gemma-3-4b-pt to ask for access.",
            "may not read the gated model google/gemma-3-4b-pt: the account of its token has no access",
        ),
    ),
    "gated-model": (
        Case(
            "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-2-7b/resolve/main/config.json.",
            "may not read the gated model meta-llama/Llama-2-7b: it sent no token that has access",
        ),
        Case(
            "Cannot access gated repo for url https://huggingface.co/api/models/black-forest-labs/FLUX.1-dev/auth-check.",
            "may not read the gated model black-forest-labs/FLUX.1-dev: it sent no token that has access",
        ),
        Case(
            "Access to model mistralai/Mistral-7B-Instruct-v0.2 is restricted. You must be authenticated to access it.",
            "may not read the gated model mistralai/Mistral-7B-Instruct-v0.2: it sent no token that has access",
        ),
        Case(
            "OSError: You are trying to access a gated repo.",
            "may not read the gated model: it sent no token that has access",
        ),
        Case(
            "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-66f4b037-1bf3d7d219afbc904ee05694;5601d2c9-8fd8-4ed8-b38d-d8a432e1fa59)",
            "may not read the gated model: it sent no token that has access",
        ),
    ),
    "invalid-token": (
        Case(
            "Invalid credentials in Authorization header",
            "sent a Hugging Face token that is not valid",
        ),
    ),
    "model-not-found": (
        Case(
            "(APIServer pid=2960) Repository Not Found for url: https://huggingface.co/Qwen/Qwen3.5-27B-AWQ/resolve/main/config.json.",
            "cannot find the model Qwen/Qwen3.5-27B-AWQ on the Hugging Face Hub, or may not see it",
        ),
        Case(
            "Repository Not Found for url: https://huggingface.co/api/models/xcodec_tps25_0215/revision/main.",
            "cannot find the model xcodec_tps25_0215 on the Hugging Face Hub, or may not see it",
        ),
    ),
    "model-path-not-found": (
        Case(
            "ERROR 02-20 10:13:40 engine.py:389] Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/data/models/cache/model_scope/deepseek-ai/DeepSeek-R1-Distill-Llama-70B'. Use `repo_type` argument if needed.",
            "cannot find a model at /data/models/cache/model_scope/deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        ),
    ),
    "damaged-weights": (
        Case(
            "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer",
            "cannot read a file of the model, which is damaged or incomplete (MetadataIncompleteBuffer)",
        ),
    ),
    "no-weights": (
        Case(
            "(RayWorkerVllm pid=1842765) ERROR 04-24 09:33:04 ray_utils.py:44] RuntimeError: Cannot find any model weights with 'meta-llama/CodeLlama-7b-Instruct-hf'",
            "found no weights of the model at meta-llama/CodeLlama-7b-Instruct-hf",
        ),
    ),
    "model-file-missing": (
        Case(
            "OSError: llama-2-7b-chat does not appear to have a file named config.json.",
            "found no file config.json in llama-2-7b-chat",
        ),
    ),
    "artifact-mismatch": (
        Case(
            "FileNotFoundError: Found 2 .fxb files in '/models/llama' but none match the current npu-tools revision 'ae27d44cd'. Available: a.fxb, b.fxb",
            "found no artifact of the model /models/llama for this version of furiosa-llm",
        ),
        Case(
            "No FXB found in 'furiosa-ai/Llama-3.1-8B-Instruct', and the local cache only has FuriosaIR-revision-mismatched (stale) matches. Pass --fxb <path> to use one",
            "found no artifact of the model furiosa-ai/Llama-3.1-8B-Instruct for this version of furiosa-llm",
        ),
    ),
    "artifact-missing": (
        Case(
            "FileNotFoundError: No .fxb files found in '/models/llama'. Please specify an FXB path via --fxb or build the model first.",
            "found no artifact of furiosa-llm in /models/llama",
        ),
    ),
    "remote-code": (
        Case(
            "2024-02-08T08:40:56.161703147Z The repository for TheBloke/Nous-Capybara-34B-AWQ contains custom code which must be executed to correctly load the model. You can inspect the repository content at https://hf.co/TheBloke/Nous-Capybara-34B-AWQ.",
            "must run code from the repository of its model TheBloke/Nous-Capybara-34B-AWQ, which is not allowed",
        ),
        Case(
            "ValueError: Loading this model requires you to execute execute some code in that repo on your local machine. Make sure you have read the code at https://hf.co//home/sun/data/weishihao/LangChain/model to avoid malicious use, then set the option `trust_remote_code=True` to remove this error.",
            "must run code from the repository of its model, which is not allowed",
        ),
    ),
    "transformers-too-old": (
        Case(
            "Value error, The checkpoint you are trying to load has model type `glm4v_moe` but Transformers does not recognize this architecture. This could be because of an issue with the checkpoint, or because your version of Transformers is out of date.",
            "does not know the model type glm4v_moe",
        ),
    ),
    "unsupported-architecture": (
        Case(
            "ValueError: Model architectures ['LlamaModel'] are not supported for now. Supported architectures: ['AquilaModel', 'AquilaForCausalLM', 'ArcticForCausalLM']",
            "does not support the model's architecture 'LlamaModel'",
        ),
    ),
    "quantization-mismatch": (
        Case(
            "ValueError: Quantization method specified in the model config (gptq) does not match the quantization method specified in the `quantization` argument (gptq_marlin).",
            "is started with --quantization gptq_marlin, but the model is quantized with gptq",
        ),
    ),
    "model-length-over-model": (
        Case(
            "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len (None=8192 in model's config.json). This may lead to incorrect model outputs or CUDA errors.",
            "is started with --max-model-len 131072, but the model supports 8192 tokens",
        ),
    ),
    "model-length-over-artifact": (
        Case(
            "ValueError: requested max_model_len=65536 exceeds max_position_embeddings=40960 from the HuggingFace model config; consider reducing max_model_len or don't set it to use the config default",
            "is started with --max-model-len 65536, but the model supports 40960 tokens",
        ),
    ),
    "batched-tokens": (
        Case(
            "ValueError: max_num_batched_tokens (512) is smaller than max_model_len (4096). This effectively limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject longer sequences. Please increase max_num_batched_tokens or decrease max_model_len.",
            "is started with --max-num-batched-tokens 512, less than --max-model-len 4096",
        ),
    ),
    "unknown-argument": (
        Case(
            "vllm: error: unrecognized arguments: --temperature 0.8",
            "does not know the arguments --temperature 0.8",
        ),
        Case(
            "api_server.py: error: unrecognized arguments: --api-key token-temp",
            "does not know the arguments --api-key ••••••••",
        ),
    ),
    "invalid-argument": (
        Case(
            "api_server.py: error: argument --dtype: invalid choice: 'fp16' (choose from 'auto', 'half', 'float16', 'bfloat16', 'float', 'float32')",
            "rejected the argument --dtype: invalid choice: 'fp16' (choose from 'auto', 'half', 'float16', 'bfloat16', 'float', 'float32')",
        ),
    ),
    "missing-argument": (
        Case(
            "furiosa-llm serve: error: the following arguments are required: model",
            "was started without the arguments model",
        ),
    ),
    "port-in-use": (
        Case(
            "vllm-eb_1  | ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
            "cannot listen on port 8000: the address is in use",
        ),
        Case(
            "[2024-09-05T00:38:34Z] ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 44319): [errno 98] address already in use",
            "cannot listen on port 44319: the address is in use",
        ),
        Case(
            "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
            "cannot listen on port 29500: the address is in use",
        ),
        Case(
            "E0705 08:07:40.219789 79386 main.cc:245] failed to start GRPC service: Unavailable - Socket '0.0.0.0:18001' already in use ",
            "cannot listen on 0.0.0.0:18001: the address is in use",
        ),
        Case(
            "OSError: [Errno 98] Address already in use",
            "cannot listen: the address is in use",
        ),
    ),
    "cache-not-writable": (
        Case(
            "[rank1]: PermissionError: [Errno 13] Permission denied: '/.cache'",
            "may not write or read /.cache (permission denied)",
        ),
    ),
    "missing-module": (
        Case("ModuleNotFoundError: No module named 'regex'", "has no Python module regex"),
    ),
    "hub-certificate": (
        Case(
            "SSLError: (MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /meta-llama/Llama-2-7b-chat-hf/resolve/main/config.json (Caused by SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1129)')))\"), '(Request ID: 6176ce77-1543-43ec-964a-e2c11fcfd056)')",
            "does not trust the certificate of a server (self-signed certificate in certificate chain)",
        ),
    ),
    "proxy": (
        Case(
            "requests.exceptions.ProxyError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /api/models (Caused by ProxyError('Unable to connect to proxy', OSError('Tunnel connection failed: 403 Forbidden')))",
            "cannot connect through its proxy",
        ),
    ),
    "dns": (
        Case(
            "'(MaxRetryError('HTTPSConnectionPool(host=\\'huggingface.co\\', port=443): Max retries exceeded with url: /sentence-transformers/all-MiniLM-L6-v2/resolve/main/tokenizer_config.json (Caused by NameResolutionError(\"HTTPSConnection(host=\\'huggingface.co\\', port=443): Failed to resolve \\'huggingface.co\\' ([Errno -3] Temporary failure in name resolution)\"))'), '(Request ID: 5d70044f-845d-44ee-a59c-6cd424f617ef)')' thrown while requesting HEAD https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main/tokenizer_config.json",
            "cannot resolve the name huggingface.co",
        ),
        Case(
            "curl: (6) Could not resolve host: huggingface.co",
            "cannot resolve the name huggingface.co",
        ),
    ),
    "hub-rate-limit": (
        Case(
            "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for URL: https://huggingface.co/meta-llama/Meta-Llama-3-8B/resolve/main/config.json",
            "was refused by huggingface.co for too many requests (429)",
        ),
        Case(
            "Download failed: request error: HTTP status client error (429 Too Many Requests) for url (https://huggingface.co/Alibaba-NLP/gte-Qwen2-7B-instruct/resolve/a8d08b36ada9cacfe34c4d6f80957772a025daf2/1_Pooling/config.json",
            "was refused by huggingface.co for too many requests (429)",
        ),
    ),
    "hub-not-reached": (
        Case(
            "huggingface_hub.utils._errors.LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub and we cannot find the requested files in the local cache. Please check your connection and try again or make sure your Internet connection is on.",
            "cannot reach the Hugging Face Hub, and the model is not in its cache",
        ),
        Case(
            "huggingface_hub.utils._http.OfflineModeIsEnabled: Cannot reach https://huggingface.co/meta-llama/Llama-2-7b-chat-hf/",
            "cannot reach the Hugging Face Hub, and the model is not in its cache",
        ),
    ),
    "triton-engine-version": (
        Case(
            "E0420 06:14:22.457146 115 model_lifecycle.cc:638] failed to load 'tensorrt_llm' version 1: Internal: unexpected error when creating modelInstanceState: [TensorRT-LLM][ERROR] Assertion failed: Failed to deserialize cuda engine (/tmp/tritonbuild/tensorrtllm/tensorrt_llm/cpp/tensorrt_llm/runtime/tllmRuntime.cpp:72)",
            "cannot load the TensorRT engine of tensorrt_llm, which was built for another version",
        ),
    ),
    "triton-model": (
        Case(
            "E0121 22:12:18.273322 1 model_lifecycle.cc:638] failed to load 'densenet_onnx' version 1: Internal: unable to create stream: operation not supported",
            "cannot load the model densenet_onnx: Internal: unable to create stream: operation not supported",
        ),
    ),
    "triton-models": (
        Case(
            "error: creating server: Internal - failed to load all models",
            "cannot load all models of its model repository",
        ),
    ),
    "nccl-timeout": (
        Case(
            "[rank0]:[E ProcessGroupNCCL.cpp:563] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=2, OpType=ALLREDUCE, NumelIn=134217728, NumelOut=134217728, Timeout(ms)=600000) ran for 600059 milliseconds before timing out.",
            "stopped because its GPUs did not finish an NCCL operation in time: ALLREDUCE, 600059 ms",
        ),
        Case(
            "[rank0]:[E1206 18:44:12.715298746 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7753, OpType=_REDUCE_SCATTER_BASE, NumelIn=544997376, NumelOut=68124672, Timeout(ms)=600000) ran for 600061 milliseconds before timing out.",
            "stopped because its GPUs did not finish an NCCL operation in time: _REDUCE_SCATTER_BASE, 600061 ms",
        ),
    ),
    "rendezvous-timeout": (
        Case(
            "[E616 02:08:15.931416442 socket.cpp:1023] [c10d] The client socket has timed out after 600000ms while trying to connect to (172.17.0.9, 50437).",
            "could not connect to the other ranks at 172.17.0.9, 50437 within 600000 ms",
        ),
    ),
    "nccl-error": (
        Case(
            "(RayWorkerWrapper pid=11305) ERROR 08-27 05:12:18 worker_base.py:382] RuntimeError: NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
            "stopped with an NCCL error: unhandled cuda error",
        ),
        Case(
            "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1970, unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.20.5",
            "stopped with an NCCL error: unhandled system error",
        ),
    ),
    "cuda-error": (
        Case(
            "(Worker_PP0 pid=23220) ERROR 07-15 21:01:01 [multiproc_executor.py:1007] torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
            "stopped with a CUDA error: an illegal memory access was encountered",
        ),
    ),
}

OTHERS: dict[str, str] = {
    # What an inference server writes when nothing is wrong with it, or names without being it.
    "cuda-out-of-memory-sampler": "INFO 03-16 06:12:38 [gpu_model_runner.py:1067] Model loading took 0.2389 GB and 0.977005 seconds",
    "gpu-memory-in-use": "INFO 01-28 16:08:46 [gpu_worker.py:358] Available KV cache memory: 18.78 GiB",
    "cuda-out-of-memory": "RuntimeError: [enforce fail at alloc_cpu.cpp:73] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 663552000 bytes. Error code 12 (Cannot allocate memory)",
    "model-length-over-kv-cache": "INFO 01-28 16:08:46 [kv_cache_utils.py:1305] GPU KV cache size: 175,856 tokens",
    "model-length-over-kv-cache-tokens": "INFO 01-11 15:51:18 llm_engine.py:275] # GPU blocks: 229, # CPU blocks: 512",
    "no-memory-for-kv-cache": 'vllm-1  | ERROR 11-18 18:07:28 engine.py:366]     raise ValueError("No available memory for the cache blocks. "',
    "npu-out-of-memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB.",
    "shared-memory-full": "NCCL WARN Error while attaching to shared memory segment /dev/shm/nccl- (size 192814336), error: No such file or directory (2)",
    "no-space-left": "[2025-10-13 09:06:25] vllm-deepseek-ep-decode-0:3663:4044 [0] misc/shmutils.cc:129 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-Ewjreo (size 33030528), error: No space left on device (28)",
    "host-out-of-memory": "Failed to allocate memory for tensor(torch.Size([2, 80, 256, 256]), torch.float16) because no memory is available (memory_management.py:444:lmcache.experimental.memory_management)",
    "gpu-hardware": "RuntimeError: CUDA error: an illegal memory access was encountered",
    "driver-too-old": "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was attempted on non supported HW",
    "cuda-compatibility": "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
    "fabric-manager": "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was attempted on non supported HW",
    "no-kernel-image": "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    "unsupported-dtype": "RuntimeError: GPUs with compute capability below 7.0 are not supported.",
    "unsupported-quantization": "WARNING 08-08 10:11:29 config.py:254] bitsandbytes quantization is not fully optimized yet. The speed can be slower than non-quantized models.",
    "unsupported-quantization-scheme": "ValueError: The quantization method awq is not supported for the current GPU. Minimum capability: 75. Current capability: 70.",
    "tensor-parallel-size-heads": "ValueError: The number of GPUs per node is not divisible by the number of tensor parallelism.",
    "too-few-gpus": "(VllmWorker rank=0 pid=427157) INFO 04-17 09:41:05 [parallel_state.py:959] rank 0 in world size 4 is assigned as DP rank 0, PP rank 0, TP rank 0",
    "too-few-npus": "Not enough devices for artifact's pipeline_parallel_size=4. Auto-reducing to pipeline_parallel_size=2 (available PEs: 16, tensor_parallel_size: 8, data_parallel_size: 1). This may cause OOM or performance degradation.",
    "npu-not-usable": "2026-05-22T18:23:45.806585898+09:00  INFO furiosa_generator::next_gen::pipeline::resolve: Resolve 47 pipeline for 1 DP groups (DP=1, PP=1) in 1.10s",
    "npu-not-found": "2026-05-22T18:23:46.185103451+09:00  INFO furiosa_generator::next_gen::pipeline::resolve: PP device#0 KV cache=30.2 GiB",
    "gpu-busy": "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "no-gpu": "DEBUG 08-29 04:29:54 [__init__.py:82] Exception happens when checking CUDA platform: NVML Shared Library Not Found",
    "gated-model-not-granted": "Access to model mistralai/Mistral-7B-Instruct-v0.2 is restricted. You must be authenticated to access it.",
    "gated-model": "Repository Not Found for url: https://huggingface.co/vicuna-13b-v1.3/resolve/main/tokenizer.model.",
    "invalid-token": "Invalid username or password.",
    "model-not-found": "Cannot access gated repo for url https://huggingface.co/google/gemma-3-4b-pt/resolve/main/config.json.",
    "model-path-not-found": "OSError: llama-2-7b-chat does not appear to have a file named config.json.",
    "damaged-weights": 'ERROR 04-08 14:03:33 [core.py:386]     with safe_open(st_file, framework="pt") as f:',
    "no-weights": "INFO 02-03 13:14:04 weight_utils.py:243] Using model weights format ['*.safetensors']",
    "model-file-missing": "2023-09-22 10:10:12 INFO Could not locate the tokenizer configuration file, will try to use the model config instead.",
    "artifact-mismatch": "FileNotFoundError: No .fxb files found in '/models/llama'. Please specify an FXB path via --fxb or build the model first.",
    "artifact-missing": "FileNotFoundError: Found 2 .fxb files in '/models/llama' but none match the current npu-tools revision 'ae27d44cd'. Available: a.fxb, b.fxb",
    "remote-code": "INFO 01-11 15:51:02 llm_engine.py:70] Initializing an LLM engine with config: model='/models/alpaca-2', tokenizer_mode=auto, revision=None, trust_remote_code=False, dtype=torch.float16, max_seq_len=4096",
    "transformers-too-old": "ValueError: Model architectures ['LlamaModel'] are not supported for now. Supported architectures: ['AquilaModel']",
    "unsupported-architecture": "ERROR 10-26 11:35:32 registry.py:267] Error in inspecting model architecture 'LlamaForCausalLM'",
    "quantization-mismatch": "ValueError: The quantization method awq is not supported for the current GPU. Minimum capability: 75. Current capability: 70.",
    "model-length-over-model": "ValueError: To serve at least one request with the models's max seq len (1048576), (24.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.97 GiB).",
    "model-length-over-artifact": "effective_max_len=32768 is limited by the KV cache capacity (num_kv_blocks=2048) rather than the model's max_model_len=40960",
    "batched-tokens": "ValueError: User-specified max_model_len (131072) is greater than the derived max_model_len (None=8192 in model's config.json).",
    "unknown-argument": "usage: vllm [-h] [-v] {chat,complete,serve,bench,collect-env,run-batch} ...",
    "invalid-argument": "vllm: error: unrecognized arguments: --omni",
    "missing-argument": "vllm: error: unrecognized arguments: --omni",
    "port-in-use": "[2024-09-05T00:38:34Z] DEBUG 09-04 17:38:34 launcher.py:64] port 44319 is used by process psutil.Process(pid=60914, name='pt_main_thread', status='sleeping', started='17:37:05')",
    "cache-not-writable": "There was a problem when trying to write in your cache folder (/.cache/huggingface/hub). You should set the environment variable TRANSFORMERS_CACHE to a writable directory.",
    "missing-module": "DEBUG 08-29 04:29:54 [__init__.py:120] ROCm platform is not available because: No module named 'amdsmi'",
    "hub-certificate": "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/sentence-transformers/ollama/resolve/main/config.json",
    "proxy": "urllib3.exceptions.NameResolutionError: <urllib3.connection.HTTPSConnection object at 0x7fade8303220>: Failed to resolve 'jwtq338l7l47q5zh.us-east-1.aws.endpoints.huggingface.cloud' ([Errno -2] Name or service not known)",
    "dns": "[W socket.cpp:663] [c10d] The client socket has failed to connect to xxx:48247 (errno: 110 - Connection timed out).",
    "hub-rate-limit": 'INFO:     10.0.0.7:48732 - "POST /v1/chat/completions HTTP/1.1" 429 Too Many Requests',
    "hub-not-reached": "Ignored error while writing commit hash to /root/.cache/huggingface/hub/models--Qwen--Qwen3.8-27B/refs/main: [Errno 13] Permission denied: '/root/.cache/huggingface/hub'.",
    "triton-engine-version": "E0121 22:12:18.273322 1 model_lifecycle.cc:638] failed to load 'densenet_onnx' version 1: Internal: unable to create stream: operation not supported",
    "triton-model": "I0312 10:55:14.003381 57 model_repository_manager.cc:1183] successfully loaded 'dashcamnet_tao' version 1",
    "triton-models": "I0120 08:28:15.120311 2049 model_lifecycle.cc:636] \"successfully unloaded 'tensorrt_llm_bls' version 1\"",
    "nccl-timeout": " [36m(RayWorkerVllm pid=5310) [0m [W CUDAGraph.cpp:145] Warning: Waiting for pending NCCL work to finish before starting graph capture. (function operator()) ",
    "rendezvous-timeout": "[W socket.cpp:663] [c10d] The client socket has failed to connect to ?UNKNOWN? (errno: 110 - Connection timed out).",
    "nccl-error": "[rank0]:[W423 14:42:53.235590780 ProcessGroupNCCL.cpp:1497] Warning: WARNING: destroy_process_group() was not called before program exit, which can leak resources.",
    "cuda-error": "RuntimeError: CUDA error: uncorrectable ECC error encountered",
}
"""For each known error a line that is not it: of a related error, or of a healthy server."""
