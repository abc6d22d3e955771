"""The log lines of a crash, as vLLM 0.33's V1 engine writes them."""

# ruff: noqa: E501 - the server's own lines

from __future__ import annotations

from collections.abc import Iterator

from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.log_lines import LogLine, LogWriter

_MARKER = "^" * 60


def crash_lines(instance: SimulatedInstance, at: float) -> Iterator[LogLine]:
    """The last lines of an instance that crashes `at` seconds after its start."""
    server, cause = instance.server, instance.plan.cause
    out = LogWriter(instance.started)
    out.advance_to(at - 0.9)
    api = "(APIServer pid=1) "
    core = f"(EngineCore_DP0 pid={instance.rng('start').randint(190, 320)}) "
    if cause is FailureCause.USAGE:
        yield out.plain("usage: vllm serve [model_tag] [options]")
        yield out.plain(f"vllm serve: error: {server.usage_error}")
    elif cause is FailureCause.GATED:
        yield from _traceback(
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
    elif cause is FailureCause.NO_MODEL:
        yield from _traceback(
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
    elif cause is FailureCause.NO_DEVICE:
        yield from _traceback(
            out,
            api,
            _DEVICE,
            "RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.",
        )
    elif cause is FailureCause.WORLD_SIZE:
        yield from _traceback(
            out,
            core,
            _EXECUTOR,
            f"ValueError: World size ({server.tp * server.pp * server.dp}) is larger than the number "
            f"of available GPUs ({server.accelerators}) in this node. If this is intentional and you "
            "are using:\n- ray, set '--distributed-executor-backend ray'.",
        )
        yield from _engine_failure(out, api)
    elif cause is FailureCause.DEVICE_MEMORY:
        yield from _traceback(out, core, _LOAD, _out_of_memory_error(instance))
        yield from _engine_failure(out, api)
    elif cause is FailureCause.KV_CACHE:
        yield from _traceback(out, core, _CACHE, _kv_cache_error(instance))
        yield from _engine_failure(out, api)
    elif cause is FailureCause.DEVICE_ERROR:
        yield out.error(
            core, "dump_input.py:69", "Dumping input data for V1 LLM engine before crash"
        )
        yield from _traceback(
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


def _out_of_memory_error(instance: SimulatedInstance) -> str:
    total = instance.device_memory
    used = total - 0.4
    tried = max(112, round(instance.server.weights_gib * 1024 / 160 / 2) * 2)
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried}.00 MiB. GPU 0 has a "
        f"total capacity of {total:.2f} GiB of which {tried * 0.6:.2f} MiB is free. Including "
        f"non-PyTorch memory, this process has {used:.2f} GiB memory in use. Of the allocated memory "
        f"{used - 0.7:.2f} GiB is allocated by PyTorch, and 26.14 MiB is reserved by PyTorch but "
        "unallocated. If reserved but unallocated memory is large try setting "
        "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
    )


def _kv_cache_error(instance: SimulatedInstance) -> str:
    server = instance.server
    assert server.model is not None
    ranks = max(1, server.tp * server.pp)
    needed = server.max_model_len * server.model.kv_bytes_per_token / ranks / 2**30
    free = instance.cache_tokens * server.model.kv_bytes_per_token / ranks / 2**30
    return (
        f"ValueError: To serve at least one request with the models's max seq len "
        f"({server.max_model_len}), ({needed:.2f} GiB KV cache is needed, which is larger than the "
        f"available KV cache memory ({free:.2f} GiB). Based on the available memory, the estimated "
        f"maximum model length is {instance.cache_tokens}. Try increasing `gpu_memory_utilization` "
        "or decreasing `max_model_len` when initializing the engine."
    )


def _engine_failure(out: LogWriter, api: str) -> Iterator[LogLine]:
    yield from _traceback(
        out,
        api,
        _CLIENT,
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    )


def _traceback(
    out: LogWriter, prefix: str, frames: tuple[tuple[str, int, str, str], ...], error: str
) -> Iterator[LogLine]:
    yield out.plain(f"{prefix}Traceback (most recent call last):")
    for path, line, function, code in frames:
        yield out.plain(f'{prefix}  File "{path}", line {line}, in {function}')
        yield out.plain(f"{prefix}    {code}")
        yield out.plain(f"{prefix}    {_MARKER[: len(code)]}")
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
