"""The log lines of vLLM at start, in operation and at shutdown, as vLLM 0.33's V1 engine writes
them."""

# ruff: noqa: E501 - the server's own lines

from __future__ import annotations

from collections.abc import Iterator

from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.log_lines import LogLine, LogWriter


def startup_lines(instance: SimulatedInstance) -> Iterator[LogLine]:
    """Lines from the start until the server listens, or until the plan makes it fail."""
    server, rng = instance.server, instance.rng("start")
    model = server.model
    out = LogWriter(instance.started)
    if server.usage_error:
        return
    api, core = "APIServer pid=1", f"EngineCore_DP0 pid={rng.randint(190, 320)}"
    out.advance_to(4.1 + rng.random())
    yield out.info(api, "api_server.py:1977", f"vLLM API server version {server.version}")
    yield out.info(api, "utils.py:253", f"non-default args: {_arguments(instance)}")
    if instance.plan.cause in (FailureCause.NO_MODEL, FailureCause.GATED) or model is None:
        return
    out.advance(2.4)
    yield out.info(api, "model.py:637", f"Resolved architecture: {model.architecture}")
    yield out.info(api, "model.py:1750", f"Using max model len {server.max_model_len}")
    yield out.info(
        api, "scheduler.py:205", "Chunked prefill is enabled with max_num_batched_tokens=2048."
    )
    if instance.plan.cause is FailureCause.NO_DEVICE:
        return
    out.advance(3.2)
    yield out.info(
        core,
        "core.py:93",
        f"Initializing a V1 LLM engine (v{server.version}) with config: "
        f"model='{server.model_name}', speculative_config=None, tokenizer='{server.model_name}', "
        f"trust_remote_code=False, dtype=torch.{_dtype(instance)}, max_seq_len={server.max_model_len}, "
        f"download_dir=None, load_format=auto, tensor_parallel_size={server.tp}, "
        f"pipeline_parallel_size={server.pp}, data_parallel_size={server.dp}, "
        f"quantization={server.quantization or model.quantization or None}, "
        f"enforce_eager={server.enforce_eager}, served_model_name={server.served_name}",
    )
    if instance.plan.cause is FailureCause.WORLD_SIZE:
        return
    for rank in range(server.tp):
        yield out.info(
            _worker(instance, core, rank),
            "parallel_state.py:1203",
            f"world_size={server.tp} rank={rank} local_rank={rank} "
            f"distributed_init_method=tcp://127.0.0.1:{41000 + rng.randint(0, 8000)} backend=nccl",
        )
    out.advance(1.3)
    worker = _worker(instance, core, 0)
    yield out.info(
        worker, "gpu_model_runner.py:3467", f"Starting to load model {server.model_name}..."
    )
    yield out.info(
        worker,
        "cuda.py:411",
        "Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN', 'FLASHINFER', 'TRITON_ATTN', 'FLEX_ATTENTION']",
    )
    yield from _weight_loading_lines(instance, out, worker)
    if instance.plan.cause in (FailureCause.DEVICE_MEMORY, FailureCause.MEMORY_LIMIT):
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
        f"Model loading took {server.weights_gib + 0.06:.2f} GiB memory and {took + 1.7:.6f} seconds",
    )
    yield from _warm_up_lines(instance, out, worker, core)


def _weight_loading_lines(
    instance: SimulatedInstance, out: LogWriter, worker: str
) -> Iterator[LogLine]:
    model, ready = instance.server.model, instance.plan.ready_after
    assert model is not None
    begin = out.offset
    warm = 8.0 if instance.server.enforce_eager else 32.0
    end = max(
        begin + 2.0, (ready - warm) if ready is not None else begin + model.weights_gib() / 1.35
    )
    if instance.plan.exits_after is not None and ready is None:
        end = max(end, instance.plan.exits_after)
    for index in range(model.shards + 1):
        share = index / model.shards
        out.advance_to(begin + (end - begin) * share)
        each = (end - begin) / model.shards
        spent = int(out.offset - begin)
        left = int((end - begin) * (1 - share))
        rate = "?s/it" if not index else f"{each:.2f}s/it" if each > 1 else f"{1 / each:.2f}it/s"
        left_text = "?" if not index else f"{left // 60:02d}:{left % 60:02d}"
        yield out.plain(
            f"({worker}) Loading safetensors checkpoint shards: {share:4.0%} Completed | "
            f"{index}/{model.shards} [{spent // 60:02d}:{spent % 60:02d}<{left_text}, {rate:>9}]"
        )


def _warm_up_lines(
    instance: SimulatedInstance, out: LogWriter, worker: str, core: str
) -> Iterator[LogLine]:
    server, rng = instance.server, instance.rng("warm")
    assert server.model is not None
    api = "APIServer pid=1"
    ready = instance.plan.ready_after
    end = ready if ready is not None else out.offset + 30
    begin = out.offset
    if not server.enforce_eager:
        out.advance_to(begin + (end - begin) * 0.2)
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
        out.advance_to(begin + (end - begin) * 0.45)
        yield out.info(
            worker, "monitor.py:34", f"torch.compile takes {bytecode + graph:.2f} s in total"
        )
    cache = instance.cache_tokens
    ranks = max(1, server.tp * server.pp)
    gib = cache * server.model.kv_bytes_per_token / ranks / 2**30
    out.advance_to(begin + (end - begin) * 0.6)
    if instance.plan.cause is FailureCause.KV_CACHE:
        return
    yield out.info(worker, "gpu_worker.py:375", f"Available KV cache memory: {gib:.2f} GiB")
    yield out.info(core, "kv_cache_utils.py:1307", f"GPU KV cache size: {cache:,} tokens")
    yield out.info(
        core,
        "kv_cache_utils.py:1312",
        f"Maximum concurrency for {server.max_model_len:,} tokens per request: "
        f"{cache / max(1, server.max_model_len):.2f}x",
    )
    if not server.enforce_eager:
        for share in (0.0, 0.34, 0.7, 1.0):
            out.advance_to(begin + (end - begin) * (0.65 + 0.2 * share))
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
    out.advance_to(begin + (end - begin) * 0.9)
    yield out.info(
        core,
        "core.py:254",
        f"init engine (profile, create kv cache, warmup model) took {(end - begin) * 0.9:.2f} seconds",
    )
    if ready is None:
        return
    out.advance_to(end - 0.3)
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


def shutdown_lines(instance: SimulatedInstance, at: float) -> Iterator[LogLine]:
    """The lines of an instance that gets SIGTERM `at` seconds after its start."""
    out = LogWriter(instance.started)
    out.advance_to(at)
    api = "APIServer pid=1"
    yield out.info(api, "launcher.py:110", "Shutting down FastAPI HTTP server.")
    for text in (
        "Shutting down",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Finished server process [1]",
    ):
        yield out.plain(f"({api}) INFO:     {text}")


def statistics_line(instance: SimulatedInstance, time: float, prompts: float, tokens: float) -> str:
    """The line that the engine's metrics logger writes every ten seconds."""
    running, waiting = instance.request_counts(time)
    hits = 18 + sum(instance.server.model_name.encode()) % 55
    return LogWriter(0.0).format_line(
        "APIServer pid=1",
        "INFO",
        "loggers.py:257",
        f"Engine 000: Avg prompt throughput: {prompts:.1f} tokens/s, "
        f"Avg generation throughput: {tokens:.1f} tokens/s, Running: {running} reqs, "
        f"Waiting: {waiting} reqs, GPU KV cache usage: {instance.cache_usage(time):.1%}, "
        f"Prefix cache hit rate: {hits + (time // 600 % 7) / 10:.1f}%",
        time,
    )


def access_line(client: str, method: str, path: str, code: int, phrase: str) -> str:
    """uvicorn's access log line."""
    return f'(APIServer pid=1) INFO:     {client} - "{method} {path} HTTP/1.1" {code} {phrase}'


def _arguments(instance: SimulatedInstance) -> str:
    server = instance.server
    shown: dict[str, object] = {"model_tag": server.model_name, "model": server.model_name}
    for name, value in server.arguments.items():
        key = name.lstrip("-").replace("-", "_")
        if key not in ("model", "api_key"):
            shown[key] = int(value) if value.isdigit() else value or True
    return str(shown)


def _dtype(instance: SimulatedInstance) -> str:
    dtype = instance.server.dtype
    return (
        "float16" if dtype in ("half", "float16") else "float32" if dtype == "float" else "bfloat16"
    )


def _worker(instance: SimulatedInstance, core: str, rank: int) -> str:
    if instance.server.tp == 1:
        return core
    return f"Worker_TP{rank} pid={int(core.rpartition('=')[2]) + 80 + rank * 2}"
