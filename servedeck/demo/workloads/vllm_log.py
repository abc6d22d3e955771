"""What vLLM writes while it starts, and when it dies (looks of vLLM 0.33's V1 engine)."""

# ruff: noqa: E501 - the server's own lines

from __future__ import annotations

from collections.abc import Iterator

from servedeck.demo.workloads.failure_simulation import Cause
from servedeck.demo.workloads.instance import Instance
from servedeck.demo.workloads.log_lines import Line, Writer

_RULE = "^" * 60


def start(instance: Instance) -> Iterator[Line]:
    """Lines from start until the server listens, as far as the plan lets it come."""
    server, rng = instance.server, instance.rng("start")
    model = server.model
    out = Writer(instance.started)
    if server.usage:
        return
    api, core = "APIServer pid=1", f"EngineCore_DP0 pid={rng.randint(190, 320)}"
    out.at(4.1 + rng.random())
    yield out.info(api, "api_server.py:1977", f"vLLM API server version {server.version}")
    yield out.info(api, "utils.py:253", f"non-default args: {_arguments(instance)}")
    if instance.plan.cause in (Cause.NO_MODEL, Cause.GATED) or model is None:
        return
    out.step(2.4)
    yield out.info(api, "model.py:637", f"Resolved architecture: {model.architecture}")
    yield out.info(api, "model.py:1750", f"Using max model len {server.max_len}")
    yield out.info(
        api, "scheduler.py:205", "Chunked prefill is enabled with max_num_batched_tokens=2048."
    )
    if instance.plan.cause is Cause.NO_DEVICE:
        return
    out.step(3.2)
    yield out.info(
        core,
        "core.py:93",
        f"Initializing a V1 LLM engine (v{server.version}) with config: "
        f"model='{server.model_name}', speculative_config=None, tokenizer='{server.model_name}', "
        f"trust_remote_code=False, dtype=torch.{_dtype(instance)}, max_seq_len={server.max_len}, "
        f"download_dir=None, load_format=auto, tensor_parallel_size={server.tp}, "
        f"pipeline_parallel_size={server.pp}, data_parallel_size={server.dp}, "
        f"quantization={server.quantization or model.quantization or None}, "
        f"enforce_eager={server.eager}, served_model_name={server.served_name}",
    )
    if instance.plan.cause is Cause.WORLD_SIZE:
        return
    for rank in range(server.tp):
        yield out.info(
            _worker(instance, core, rank),
            "parallel_state.py:1203",
            f"world_size={server.tp} rank={rank} local_rank={rank} "
            f"distributed_init_method=tcp://127.0.0.1:{41000 + rng.randint(0, 8000)} backend=nccl",
        )
    out.step(1.3)
    worker = _worker(instance, core, 0)
    yield out.info(
        worker, "gpu_model_runner.py:3467", f"Starting to load model {server.model_name}..."
    )
    yield out.info(
        worker,
        "cuda.py:411",
        "Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN', 'FLEX_ATTENTION']",
    )
    yield from _shards(instance, out, worker)
    if instance.plan.cause in (Cause.DEVICE_MEMORY, Cause.MEMORY_LIMIT):
        return
    took = out.offset - 12
    yield out.info(
        worker,
        "default_loader.py:314",
        f"Loading weights took {took:.2f} seconds",
    )
    yield out.info(
        worker,
        "gpu_model_runner.py:3549",
        f"Model loading took {server.weights + 0.06:.2f} GiB memory and {took + 1.7:.6f} seconds",
    )
    yield from _warm_up(instance, out, worker, core)


def _shards(instance: Instance, out: Writer, worker: str) -> Iterator[Line]:
    model, ready = instance.server.model, instance.plan.ready_after
    assert model is not None
    begin = out.offset
    warm = 8.0 if instance.server.eager else 32.0
    end = max(begin + 2.0, (ready - warm) if ready is not None else begin + model.weights() / 1.35)
    if instance.plan.dies_after is not None and ready is None:
        end = max(end, instance.plan.dies_after)
    for index in range(model.shards + 1):
        share = index / model.shards
        out.at(begin + (end - begin) * share)
        each = (end - begin) / model.shards
        spent = int(out.offset - begin)
        left = int((end - begin) * (1 - share))
        rate = "?s/it" if not index else f"{each:.2f}s/it" if each > 1 else f"{1 / each:.2f}it/s"
        left_text = "?" if not index else f"{left // 60:02d}:{left % 60:02d}"
        yield out.plain(
            f"({worker}) Loading safetensors checkpoint shards: {share:4.0%} Completed | "
            f"{index}/{model.shards} [{spent // 60:02d}:{spent % 60:02d}<{left_text}, {rate:>9}]"
        )


def _warm_up(instance: Instance, out: Writer, worker: str, core: str) -> Iterator[Line]:
    server, rng = instance.server, instance.rng("warm")
    assert server.model is not None
    api = "APIServer pid=1"
    ready = instance.plan.ready_after
    end = ready if ready is not None else out.offset + 30
    begin = out.offset
    if not server.eager:
        out.at(begin + (end - begin) * 0.2)
        bytecode, graph = rng.uniform(5.5, 9.5), rng.uniform(2.2, 4.8)
        yield out.info(
            worker,
            "backends.py:703",
            f"Using cache directory: /root/.cache/vllm/torch_compile_cache/"
            f"{rng.getrandbits(40):010x}/rank_0_0/backbone for vLLM's torch.compile",
        )
        yield out.info(
            worker, "backends.py:261", f"Dynamo bytecode transform time: {bytecode:.2f} s"
        )
        out.at(begin + (end - begin) * 0.45)
        yield out.info(
            worker, "monitor.py:34", f"torch.compile takes {bytecode + graph:.2f} s in total"
        )
    cache = instance.cache_tokens
    ranks = max(1, server.tp * server.pp)
    gib = cache * server.model.kv_bytes / ranks / 2**30
    out.at(begin + (end - begin) * 0.6)
    if instance.plan.cause is Cause.KV_CACHE:
        return
    yield out.info(worker, "gpu_worker.py:375", f"Available KV cache memory: {gib:.2f} GiB")
    yield out.info(core, "kv_cache_utils.py:1307", f"GPU KV cache size: {cache:,} tokens")
    yield out.info(
        core,
        "kv_cache_utils.py:1312",
        f"Maximum concurrency for {server.max_len:,} tokens per request: "
        f"{cache / max(1, server.max_len):.2f}x",
    )
    if not server.eager:
        for share in (0.0, 0.34, 0.7, 1.0):
            out.at(begin + (end - begin) * (0.65 + 0.2 * share))
            yield out.plain(
                f"({worker}) Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): {share:4.0%}|"
                f"{'█' * round(share * 10):<10}| {round(share * 51)}/51"
            )
        yield out.info(
            worker,
            "gpu_model_runner.py:4466",
            f"Graph capturing finished in {rng.uniform(4, 9):.0f} secs, "
            f"took {rng.uniform(0.5, 0.9):.2f} GiB",
        )
    out.at(begin + (end - begin) * 0.9)
    yield out.info(
        core,
        "core.py:254",
        f"init engine (profile, create kv cache, warmup model) took {(end - begin) * 0.9:.2f} seconds",
    )
    if ready is None:
        return
    out.at(end - 0.3)
    task = "embed" if server.pooling else "generate"
    yield out.info(api, "api_server.py:1725", f"Supported tasks: ['{task}']")
    yield out.info(
        api, "api_server.py:2052", f"Starting vLLM API server 0 on http://0.0.0.0:{server.port}"
    )
    answers = ("embeddings",) if server.pooling else ("chat/completions", "completions")
    for path, methods in (
        ("/health", "GET"),
        ("/metrics", "GET"),
        ("/v1/models", "GET"),
        *((f"/v1/{name}", "POST") for name in answers),
    ):
        yield out.info(api, "launcher.py:46", f"Route: {path}, Methods: {methods}")
    yield out.plain(f"({api}) INFO:     Started server process [1]")
    yield out.plain(f"({api}) INFO:     Waiting for application startup.")
    yield out.plain(f"({api}) INFO:     Application startup complete.")


def death(instance: Instance, at: float) -> Iterator[Line]:
    """The last lines of an instance whose plan lets it die `at`, in seconds after its start."""
    server, cause = instance.server, instance.plan.cause
    out = Writer(instance.started)
    out.at(at - 0.9)
    api = "(APIServer pid=1) "
    core = f"(EngineCore_DP0 pid={instance.rng('start').randint(190, 320)}) "
    if cause is Cause.USAGE:
        yield out.plain("usage: vllm serve [model_tag] [options]")
        yield out.plain(f"vllm serve: error: {server.usage}")
    elif cause is Cause.GATED:
        yield from _trace(
            out,
            api,
            _GATED,
            f"huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-{instance.rng('id').getrandbits(32):08x})",
        )
        yield out.plain("")
        yield out.plain(
            f"{api}Cannot access gated repo for url https://huggingface.co/{server.model_name}/resolve/main/config.json."
        )
        yield out.plain(
            f"{api}Access to model {server.model_name} is restricted. You must have access to it and be authenticated to access it. Please log in."
        )
    elif cause is Cause.NO_MODEL:
        yield from _trace(
            out,
            api,
            _CONFIG,
            f"OSError: {server.model_name} is not a local folder and is not a valid model "
            "identifier listed on 'https://huggingface.co/models'",
        )
        yield out.plain(
            f"{api}If this is a private repository, make sure to pass a token having permission to "
            "this repo either by logging in with `hf auth login` or by passing `token=<your_token>`"
        )
    elif cause is Cause.NO_DEVICE:
        yield from _trace(
            out,
            api,
            _DEVICE,
            "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.",
        )
    elif cause is Cause.WORLD_SIZE:
        yield from _trace(
            out,
            core,
            _EXECUTOR,
            f"ValueError: World size ({server.tp * server.pp * server.dp}) is larger than the number "
            f"of available GPUs ({server.accelerators}) in this node. If this is intentional and you "
            "are using:\n- ray, set '--distributed-executor-backend ray'.",
        )
        yield from _engine_died(out, api)
    elif cause is Cause.DEVICE_MEMORY:
        yield from _trace(out, core, _LOAD, _out_of_memory(instance))
        yield from _engine_died(out, api)
    elif cause is Cause.KV_CACHE:
        yield from _trace(out, core, _CACHE, _too_long(instance))
        yield from _engine_died(out, api)
    elif cause is Cause.DEVICE_ERROR:
        yield out.error(
            core, "dump_input.py:69", "Dumping input data for V1 LLM engine before crash"
        )
        yield from _trace(
            out,
            core,
            _EXECUTE,
            "torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n"
            "CUDA kernel errors might be asynchronously reported at some other API call, so the "
            "stacktrace below might be incorrect.\n"
            "For debugging consider passing CUDA_LAUNCH_BLOCKING=1",
        )
        yield out.error(api, "async_llm.py:525", "AsyncLLM output_handler failed.")
        yield out.plain(
            f"{api}vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."
        )
        yield out.plain(f"{api}INFO:     Shutting down")
        yield out.plain(f"{api}INFO:     Finished server process [1]")


def shutdown(instance: Instance, at: float) -> Iterator[Line]:
    """The lines of an instance that got SIGTERM `at`, in seconds after its start."""
    out = Writer(instance.started)
    out.at(at)
    api = "APIServer pid=1"
    yield out.info(api, "launcher.py:110", "Shutting down FastAPI HTTP server.")
    for text in (
        "Shutting down",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Finished server process [1]",
    ):
        yield out.plain(f"({api}) INFO:     {text}")


def statistics(instance: Instance, time: float, prompts: float, tokens: float) -> str:
    """The line that the engine's metrics logger writes every ten seconds."""
    running, waiting = instance.running(time)
    hits = 18 + sum(instance.server.model_name.encode()) % 55
    return Writer(0.0).stamped(
        "APIServer pid=1",
        "INFO",
        "loggers.py:257",
        f"Engine 000: Avg prompt throughput: {prompts:.1f} tokens/s, "
        f"Avg generation throughput: {tokens:.1f} tokens/s, Running: {running} reqs, "
        f"Waiting: {waiting} reqs, GPU KV cache usage: {instance.cache_usage(time):.1%}, "
        f"Prefix cache hit rate: {hits + (time // 600 % 7) / 10:.1f}%",
        time,
    )


def access(client: str, method: str, path: str, code: int, phrase: str) -> str:
    """uvicorn's line of a request."""
    return f'(APIServer pid=1) INFO:     {client} - "{method} {path} HTTP/1.1" {code} {phrase}'


def _arguments(instance: Instance) -> str:
    server = instance.server
    shown: dict[str, object] = {"model_tag": server.model_name, "model": server.model_name}
    for name, value in server.arguments.items():
        key = name.lstrip("-").replace("-", "_")
        if key not in ("model", "api_key"):
            shown[key] = int(value) if value.isdigit() else value or True
    return str(shown)


def _dtype(instance: Instance) -> str:
    dtype = instance.server.dtype
    return (
        "float16" if dtype in ("half", "float16") else "float32" if dtype == "float" else "bfloat16"
    )


def _worker(instance: Instance, core: str, rank: int) -> str:
    if instance.server.tp == 1:
        return core
    return f"Worker_TP{rank} pid={int(core.rpartition('=')[2]) + 80 + rank * 2}"


def _out_of_memory(instance: Instance) -> str:
    total = instance.device_memory
    used = total - 0.4
    tried = max(112, round(instance.server.weights * 1024 / 160 / 2) * 2)
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried}.00 MiB. GPU 0 has a "
        f"total capacity of {total:.2f} GiB of which {tried * 0.6:.2f} MiB is free. Including "
        f"non-PyTorch memory, this process has {used:.2f} GiB memory in use. Of the allocated memory "
        f"{used - 0.7:.2f} GiB is allocated by PyTorch, and 26.14 MiB is reserved by PyTorch but "
        "unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


def _too_long(instance: Instance) -> str:
    server = instance.server
    assert server.model is not None
    ranks = max(1, server.tp * server.pp)
    needed = server.max_len * server.model.kv_bytes / ranks / 2**30
    free = instance.cache_tokens * server.model.kv_bytes / ranks / 2**30
    return (
        f"ValueError: To serve at least one request with the models's max seq len "
        f"({server.max_len}), ({needed:.2f} GiB KV cache is needed, which is larger than the "
        f"available KV cache memory ({free:.2f} GiB). Based on the available memory, the estimated "
        f"maximum model length is {instance.cache_tokens}. Try increasing `gpu_memory_utilization` "
        "or decreasing `max_model_len` when initializing the engine."
    )


def _engine_died(out: Writer, api: str) -> Iterator[Line]:
    yield from _trace(
        out,
        api,
        _CLIENT,
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    )


def _trace(
    out: Writer, prefix: str, frames: tuple[tuple[str, int, str, str], ...], error: str
) -> Iterator[Line]:
    yield out.plain(f"{prefix}Traceback (most recent call last):")
    for path, line, function, code in frames:
        yield out.plain(f'{prefix}  File "{path}", line {line}, in {function}')
        yield out.plain(f"{prefix}    {code}")
        yield out.plain(f"{prefix}    {_RULE[: len(code)]}")
    for part in error.split("\n"):
        yield out.plain(f"{prefix}{part}")


_SITE = "/usr/local/lib/python3.12/dist-packages"
_ARGS = (
    f"{_SITE}/vllm/engine/arg_utils.py",
    1379,
    "create_engine_config",
    "model_config = self.create_model_config()",
)
_CONFIG = (
    ("/usr/local/bin/vllm", 10, "<module>", "sys.exit(main())"),
    (f"{_SITE}/vllm/entrypoints/cli/serve.py", 119, "cmd", "uvloop.run(run_server(args))"),
    _ARGS,
    (f"{_SITE}/transformers/utils/hub.py", 510, "cached_files", "raise OSError("),
)
_GATED = (
    *_CONFIG[:3],
    (
        f"{_SITE}/huggingface_hub/utils/_http.py",
        419,
        "hf_raise_for_status",
        "raise _format(GatedRepoError, message, response) from e",
    ),
)
_DEVICE = (
    *_CONFIG[:3],
    (f"{_SITE}/vllm/config/device.py", 65, "__post_init__", "raise RuntimeError("),
)
_CORE = (
    (
        f"{_SITE}/vllm/v1/engine/core.py",
        842,
        "run_engine_core",
        "engine_core = EngineCoreProc(*args, **kwargs)",
    ),
    (
        f"{_SITE}/vllm/v1/engine/core.py",
        106,
        "__init__",
        "self.model_executor = executor_class(vllm_config)",
    ),
)
_EXECUTOR = (
    *_CORE,
    (f"{_SITE}/vllm/config/parallel.py", 603, "__post_init__", "raise ValueError("),
)
_LOAD = (
    *_CORE,
    (
        f"{_SITE}/vllm/v1/worker/gpu_model_runner.py",
        3480,
        "load_model",
        "self.model = model_loader.load_model(",
    ),
    (
        f"{_SITE}/vllm/model_executor/layers/linear.py",
        189,
        "create_weights",
        "weight = Parameter(torch.empty(sum(output_partition_sizes),",
    ),
    (f"{_SITE}/torch/utils/_device.py", 104, "__torch_function__", "return func(*args, **kwargs)"),
)
_CACHE = (
    *_CORE,
    (
        f"{_SITE}/vllm/v1/core/kv_cache_utils.py",
        712,
        "check_enough_kv_cache_memory",
        "raise ValueError(",
    ),
)
_EXECUTE = (
    (f"{_SITE}/vllm/v1/engine/core.py", 893, "run_busy_loop", "self._process_engine_step()"),
    (f"{_SITE}/vllm/v1/engine/core.py", 349, "step", "model_output = future.result()"),
    (
        f"{_SITE}/vllm/v1/worker/gpu_model_runner.py",
        2907,
        "execute_model",
        "valid_sampled_token_ids = self._bookkeeping_sync(",
    ),
)
_CLIENT = (
    (f"{_SITE}/vllm/v1/engine/core_client.py", 824, "__init__", "super().__init__("),
    (f"{_SITE}/vllm/v1/engine/utils.py", 775, "wait_for_engine_startup", "raise RuntimeError("),
)
