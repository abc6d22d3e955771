"""The log lines of furiosa-llm, and of a plain uvicorn application."""

from __future__ import annotations

import time as _time
from collections.abc import Iterator

from servedeck.demo.workloads.failure_simulation import FailureCause
from servedeck.demo.workloads.instance import SimulatedInstance
from servedeck.demo.workloads.log_lines import LogLine, LogWriter


def startup_lines(instance: SimulatedInstance) -> Iterator[LogLine]:
    """Lines from the start until the server listens, or until the plan makes it fail."""
    server, model = instance.server, instance.server.model
    out = LogWriter(instance.started)
    if server.usage_error:
        return
    out.advance_to(2.6)
    yield _info_line(
        out, "furiosa_llm.server.app", f"furiosa-llm {server.version} (rev. 5c1f0a7d2)"
    )
    yield _info_line(out, "furiosa_llm.server.app", f"Loading model: {server.model_name}")
    if instance.plan.cause in (FailureCause.NO_MODEL, FailureCause.GATED) or model is None:
        return
    devices = ",".join(f"npu:{index}" for index in range(max(1, server.accelerators)))
    out.advance(1.4)
    yield _info_line(
        out, "furiosa_llm.llm", f"Found artifact for {server.model_name} on Hugging Face Hub"
    )
    if instance.plan.cause is FailureCause.NO_DEVICE:
        return
    yield _info_line(
        out,
        "furiosa_llm.llm",
        f"Using devices [{devices}], tensor_parallel_size=8, "
        f"pipeline_parallel_size={server.pp}, data_parallel_size={server.dp}",
    )
    begin = out.offset
    ready = instance.plan.ready_after
    end = ready if ready is not None else begin + model.weights_gib(server.quantization) / 1.35
    blocks = model.layers // 4
    for index in range(0, blocks + 1, max(1, blocks // 8)):
        out.advance_to(begin + (end - begin) * 0.8 * index / blocks)
        yield _info_line(
            out,
            "furiosa_native_runtime",
            f"Loading weights to device memory: {index * 100 // blocks}% ({index}/{blocks} blocks)",
        )
    if ready is None:
        return
    cache = instance.cache_tokens
    yield _info_line(
        out,
        "furiosa_generator",
        f"KV cache: {cache // 16:,} blocks of 16 tokens ({cache:,} tokens)",
    )
    yield _info_line(
        out,
        "furiosa_generator",
        f"Prefill buckets: 9, decode buckets: 22, max_model_len: {server.max_model_len}",
    )
    out.advance_to(end - 0.2)
    yield out.plain("INFO:     Started server process [1]")
    yield out.plain("INFO:     Waiting for application startup.")
    yield out.plain("INFO:     Application startup complete.")
    yield out.plain(
        f"INFO:     Uvicorn running on http://0.0.0.0:{server.port} (Press CTRL+C to quit)"
    )


def crash_lines(instance: SimulatedInstance, at: float) -> Iterator[LogLine]:
    """The last lines of an instance that crashes `at` seconds after its start."""
    server, cause = instance.server, instance.plan.cause
    out = LogWriter(instance.started)
    out.advance_to(at - 0.5)
    if cause is FailureCause.USAGE:
        yield out.plain("usage: furiosa-llm [-h] [-v] {build,serve,route} ...")
        yield out.plain(f"furiosa-llm: error: {server.usage_error}")
        return
    error = _crash_error(instance)
    if error is None:
        return
    yield out.plain("Traceback (most recent call last):")
    yield out.plain('  File "/usr/local/bin/furiosa-llm", line 8, in <module>')
    yield out.plain("    sys.exit(main())")
    yield out.plain(
        '  File "/usr/local/lib/python3.12/dist-packages/furiosa_llm/server/app.py", line 412, '
        "in run_server"
    )
    yield out.plain("    llm = LLM.load_artifact(args.model, **engine_args)")
    yield out.plain(error)


def shutdown_lines(instance: SimulatedInstance, at: float) -> Iterator[LogLine]:
    """The lines of an instance that gets SIGTERM `at` seconds after its start."""
    out = LogWriter(instance.started)
    out.advance_to(at)
    for text in (
        "Shutting down",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Finished server process [1]",
    ):
        yield out.plain(f"INFO:     {text}")


def application_startup_lines(instance: SimulatedInstance) -> Iterator[LogLine]:
    """The start of a plain web application, such as a transformer."""
    out = LogWriter(instance.started)
    out.advance_to((instance.plan.ready_after or 2.0) - 0.6)
    yield out.plain("INFO:     Started server process [1]")
    yield out.plain("INFO:     Waiting for application startup.")
    yield out.plain("INFO:     Application startup complete.")
    yield out.plain(
        f"INFO:     Uvicorn running on http://0.0.0.0:{instance.server.port} (Press CTRL+C to quit)"
    )


def statistics_line(instance: SimulatedInstance, time: float, prompts: float, tokens: float) -> str:
    """The line that the engine writes every ten seconds."""
    running, waiting = instance.request_counts(time)
    return _format_line(
        time,
        "furiosa_generator::metrics",
        f"Avg prompt throughput: {prompts:.1f} tokens/s, Avg generation throughput: "
        f"{tokens:.1f} tokens/s, Running: {running} reqs, Pending: {waiting} reqs, "
        f"KV cache usage: {instance.cache_usage(time):.1%}",
    )


def access_line(client: str, method: str, path: str, code: int, phrase: str) -> str:
    """uvicorn's access log line."""
    return f'INFO:     {client} - "{method} {path} HTTP/1.1" {code} {phrase}'


def _info_line(out: LogWriter, location: str, text: str) -> LogLine:
    line = out.plain("")
    return LogLine(line.time, _format_line(line.time, location, text))


def _format_line(time: float, location: str, text: str) -> str:
    moment = _time.strftime("%Y-%m-%dT%H:%M:%S", _time.gmtime(time))
    return f"{moment}.{int(time % 1 * 1000):03d}Z  INFO {location}: {text}"


def _crash_error(instance: SimulatedInstance) -> str | None:
    server = instance.server
    memory = (
        f"RuntimeError: insufficient DRAM (required: {round(server.weights_gib * 2**30)} bytes, "
        f"available: {round(instance.device_memory * 2**30)} bytes)"
    )
    return {
        FailureCause.GATED: (
            "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for "
            f"url https://huggingface.co/{server.model_name}/resolve/main/artifact.json."
        ),
        FailureCause.NO_MODEL: (
            f"OSError: {server.model_name} is not a local folder and is not a valid model "
            "identifier listed on 'https://huggingface.co/models'"
        ),
        # furiosa-llm-native 2026.4.0
        FailureCause.NO_DEVICE: "RuntimeError: failed to open any NPU: No such device",
        FailureCause.DEVICE_MEMORY: memory,
        FailureCause.KV_CACHE: memory,
        FailureCause.DEVICE_ERROR: (
            "RuntimeError: npu:0: device error: PE fault (status 0x2c), the device was reset"
        ),
    }.get(instance.plan.cause)
