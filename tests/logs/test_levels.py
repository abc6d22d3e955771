# ruff: noqa: E501  (lines are quoted as they are)
"""Levels of real log lines, each with where it is from."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.logs.levels import Level, find_levels, level_named, level_of

UNKNOWN, DEBUG, INFO = Level.UNKNOWN, Level.DEBUG, Level.INFO
WARNING, ERROR, CRITICAL = Level.WARNING, Level.ERROR, Level.CRITICAL

# fmt: off
_TABLE: list[tuple[str, list[tuple[Level, str]]]] = [
    ("https://github.com/vllm-project/vllm/issues/19415", [
        (DEBUG, "DEBUG 07-10 14:48:13 [utils.py:485] Waiting for 1 local, 0 remote core engine proc(s) to start."),
        (ERROR, "ERROR 07-10 14:49:36 [core.py:515] EngineCore failed to start."),
        (ERROR, "ERROR 07-10 14:49:36 [core.py:515] Traceback (most recent call last):"),
        (UNKNOWN, "NCCL version 2.26.2+cuda12.2"),
    ]),
    ("https://github.com/vllm-project/vllm/issues/24578", [
        (INFO, "INFO 09-10 19:10:43 [init.py:241] Automatically detected platform cuda."),
    ]),
    ("https://github.com/tenstorrent/tt-inference-server/issues/37 (vLLM before 0.7)", [
        (INFO, "INFO 11-15 09:07:04 api_server.py:166] Multiprocessing frontend to use ipc:///tmp/652c for IPC Path."),
    ]),
    ("https://github.com/vllm-project/vllm/issues/25837", [
        (ERROR, "(EngineCore_DP0 pid=17374) ERROR 09-28 15:47:24 [core.py:718]     raise ValueError("),
        (ERROR, "(EngineCore_DP0 pid=17374) ERROR 09-28 15:47:24 [core.py:718] ValueError: Free memory on device (3.22/4.0 GiB)"),
        (UNKNOWN, "(EngineCore_DP0 pid=17374) Process EngineCore_DP0:"),
        (ERROR, "(EngineCore_DP0 pid=17374) Traceback (most recent call last):"),
    ]),
    ("https://github.com/noonghunna/club-3090/issues/58", [
        (ERROR, "(APIServer pid=1) ERROR 05-05 12:36:59 [serving.py:1173] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."),
        (UNKNOWN, '(EngineCore pid=104)   File "/usr/lib/python3.12/multiprocessing/process.py", line 314, in _bootstrap'),
        (UNKNOWN, "(EngineCore pid=104)     raise e"),
    ]),
    ("https://github.com/vllm-project/vllm/issues/17939", [
        (UNKNOWN, "(VllmWorker rank=1 pid=2445156)     worker.shutdown()"),
        (ERROR, "(VllmWorker rank=1 pid=2445156) torch.distributed.DistBackendError: NCCL error in: /pytorch/torch"),
    ]),
    ("https://github.com/vllm-project/vllm/issues/19332", [
        (UNKNOWN, "Loading safetensors checkpoint shards:  58% Completed | 95/163 [03:06<02:14,  1.98s/it]"),
        (UNKNOWN, "(VllmWorker rank=0 pid=241) "),
    ]),
    ("https://github.com/vllm-project/vllm/issues/16692 (where the escape character was lost)", [
        (WARNING, "[36m(RayWorkerWrapper pid=860)[0m [W416 10:28:00.232485006 socket.cpp:204] [c10d] The hostname"),
    ]),
    ("https://github.com/ray-project/ray/pull/63035 (furiosa-llm)", [
        (INFO, "(FuriosaLLMActor pid=849529) 2026-05-22T18:23:45.296792233+09:00  INFO furiosa_generator::next_gen::pipeline::resolve: PP device#0"),
    ]),
    ("furiosa-sdk, docs/source/ko/software/serving.rst; tracing_subscriber::fmt has the same head", [
        (INFO, "2023-08-02T07:42:42.263133Z  INFO furiosa_rt_core::driver::event_driven::device: DeviceManager has detected 1 NPUs"),
        (ERROR, "2023-08-02T07:42:42.263133Z ERROR furiosa_rt_core::driver::event_driven::device: no NPU"),
        (WARNING, "2023-08-02T07:42:42.263133Z  WARN furiosa_rt_core::driver: 0 errors"),
    ]),
    ("https://github.com/guoqingbao/xinfer/issues/39 (Rust tracing, Rust panic)", [
        (ERROR, "2025-10-10T22:10:40.903545Z ERROR vllm_rs::core::engine: "),
        (CRITICAL, "thread 'main' (89) panicked at library/core/src/panicking.rs:233:5:"),
    ]),
    ("furiosa-llm 2026.4.0, furiosa_llm/cli/route.py and server/middleware.py", [
        (INFO, "INFO:furiosa_llm.cli.route:listening on 0.0.0.0:8080"),
        (WARNING, 'WARNING:  10.0.0.1:1234 - "POST /v1/completions HTTP/1.1" 400 Bad Request'),
    ]),
    ("https://www.uvicorn.org/concepts/logging/", [
        (INFO, 'INFO:     10.0.0.1:1 - "POST /v1/chat/completions HTTP/1.1" 200 OK'),
        (INFO, 'INFO:     10.0.0.1:1 - "GET /errors HTTP/1.1" 500 Internal Server Error'),
        (ERROR, "ERROR:    Exception in ASGI application"),
        (INFO, "INFO:     Application startup complete."),
    ]),
    ("https://github.com/sgl-project/sglang/issues/3781", [
        (INFO, "[2025-02-25 12:05:39] INFO:     Started server process [271907]"),
        (UNKNOWN, "[2025-02-25 12:05:39 TP0] The following error message 'operation scheduled before its operands' can be ignored."),
    ]),
    ("https://docs.python.org/3/library/logging.html", [
        (ERROR, "2026-11-29 01:02:03,123 - name - ERROR - msg"),
        (INFO, "2026-11-29 01:02:03,123 - my.name - INFO - 0 errors"),
        (ERROR, "ERROR:root:msg"),
        (WARNING, "2026-11-29 01:02:03,123 WARNING name: msg"),
        (CRITICAL, "CRITICAL:root:msg"),
        (INFO, "[INFO] msg"),
        (WARNING, "2026-11-29 01:02:03,123 [WARNING] name: msg"),
    ]),
    ("https://github.com/hiyouga/LlamaFactory/issues/1169", [
        (INFO, "10/12/2023 21:03:35 - INFO - llmtuner.tuner.core.loader - trainable params: 104857600"),
    ]),
    ("https://loguru.readthedocs.io/en/stable/api/logger.html", [
        (ERROR, "2026-11-29 01:02:03.123 | ERROR    | server:run:12 - msg"),
        (INFO, "2026-11-29 01:02:03.123 | INFO     | server:run:12 - errors: 0"),
    ]),
    ("transformers/utils/logging.py, enable_explicit_format", [
        (WARNING, "[WARNING|modeling_utils.py:1234] 2026-11-29 01:02:03,123 >> msg"),
    ]),
    ("https://github.com/pytorch/serve/issues/3365 (TorchServe)", [
        (INFO, "2024-11-18T16:43:45,496 [INFO ] W-9000-model_1.0-stdout MODEL_LOG -     get_hf_file_metadata(url, token=token)"),
    ]),
    ("https://github.com/triton-inference-server/server/issues/3786", [
        (INFO, "I0110 21:30:54.920681 60 server.cc:592]"),
        (UNKNOWN, "| <redacted> | 1       | UNAVAILABLE: Internal: unable to create TensorRT engine |"),
    ]),
    ("https://github.com/triton-inference-server/core/pull/244", [
        (ERROR, "E0817 19:18:51.786824 2997733 model_repository_manager.cc:1265] failed to poll model 'dne'"),
    ]),
    ("https://github.com/triton-inference-server/server/issues/6416", [
        (ERROR, "error: creating server: Internal - failed to load all models"),
    ]),
    ("https://docs.rs/tritonserver-rs/latest/tritonserver_rs/options/enum.LogFormat.html", [
        (INFO, "I0520 20:03:25.829575 3355 model_lifecycle.cc:441] \"AsyncLoad() 'simple'\""),
        (INFO, "2024-05-20T20:03:26Z I 3415 model_lifecycle.cc:441] \"AsyncLoad() 'simple'\""),
        (WARNING, '2024-05-20T20:03:26Z W 3415 metrics.cc:798] "Unable to get power limit"'),
    ]),
    ("https://github.com/NVIDIA/TensorRT-LLM, tensorrt_llm/logger.py and cpp/tensorrt_llm/common/logger.h", [
        (INFO, "[11/29/2026-01:02:03] [TRT-LLM] [I] Starting TensorRT-LLM"),
        (ERROR, "[11/29/2026-01:02:03] [TRT-LLM] [E] Failed to initialize executor"),
        (ERROR, "[TensorRT-LLM][ERROR] Assertion failed: Can't free tensor"),
        (WARNING, "[TensorRT-LLM][WARNING] Device 0 peer access is not available."),
    ]),
    ("https://github.com/kubernetes/klog/blob/main/klog.go (formatHeader)", [
        (ERROR, "E1129 01:02:03.123456       1 reflector.go:147] Failed to watch *v1.Pod"),
        (WARNING, "W1129 01:02:03.123456       1 client_config.go:618] Neither --kubeconfig nor --master was specified."),
        (CRITICAL, "F1129 01:02:03.123456       1 main.go:12] cannot start"),
    ]),
    ("https://github.com/hiyouga/LlamaFactory/issues/6269 and https://github.com/vllm-project/vllm/issues/6042", [
        (ERROR, "[rank0]:[E1206 18:44:12.715298746 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout"),
        (ERROR, "(RayWorkerWrapper pid=4009) [rank1]:[E ProcessGroupNCCL.cpp:563] [Rank 1] Watchdog caught collective operation timeout"),
        (UNKNOWN, "frame #3: c10d::ProcessGroupNCCL::ncclCommWatchdog() + 0x10c (0x7176e4fb031c in /home/libtorch_cuda.so)"),
    ]),
    ("https://github.com/NVIDIA/nccl/issues/1485 and https://github.com/hiyouga/LlamaFactory/issues/1169", [
        (WARNING, "node2:24881:25569 [32707] include/alloc.h:243 NCCL WARN Cuda failure 'driver shutting down'"),
        (INFO, "DESKTOP-VMBL43V:4163:4163 [0] NCCL INFO Bootstrap : Using eth0:172.23.125.43<0>"),
        (WARNING, "DESKTOP-VMBL43V:4163:4163 [0] misc/cudawrap.cc:179 NCCL WARN Failed to find CUDA library libcuda.so"),
    ]),
    ("https://github.com/NVIDIA/nccl/issues/1283", [
        (INFO, "(train_rft pid=2657296) 2024-05-11 14:10:52.224 n176-080-198:2657296:2658229 [0] NCCL INFO Connected all rings"),
        (WARNING, "(train_rft pid=2657296) 2024-05-11 14:10:52.227 n176-080-198:2657296:2658232 [0] include/alloc.h:102 NCCL WARN Cuda failure 1"),
    ]),
    ("https://github.com/NVIDIA/nccl/issues/1029", [
        (ERROR, "ncclUnhandledCudaError: Call to CUDA function failed."),
        (UNKNOWN, "Last error:"),
    ]),
    ("https://github.com/pinojs/pino/blob/main/lib/levels.js", [
        (ERROR, '{"level":50,"time":1531171074631,"msg":"hello world","pid":657}'),
        (DEBUG, '{"level":10,"time":1531171074631,"msg":"level: 50"}'),
        (WARNING, '{"level": 40, "msg": "x"}'),
        (CRITICAL, '{"level":60,"msg":"x"}'),
        (UNKNOWN, '{"level":7,"msg":"x"}'),
    ]),
    ("https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#LogSeverity", [
        (INFO, '{"severity":"NOTICE","message":"error"}'),
        (CRITICAL, '{"message":"m","severity":"ALERT"}'),
    ]),
    ("https://docs.rs/tracing-subscriber/latest/tracing_subscriber/fmt/format/struct.Json.html", [
        (INFO, '{"timestamp":"2026-11-29T01:02:03Z","level":"INFO","fields":{"message":"0 errors"},"target":"t"}'),
        (ERROR, '{"timestamp":"2026-11-29T01:02:03Z","level":"ERROR","fields":{"message":"m"},"target":"t"}'),
    ]),
    ("https://github.com/madzak/python-json-logger", [
        (WARNING, '{"asctime": "2026-11-29 01:02:03,123", "levelname": "WARNING", "message": "m"}'),
    ]),
    ("https://www.elastic.co/guide/en/ecs/current/ecs-log.html", [
        (ERROR, '{"@timestamp":"2026-11-29T01:02:03Z","log.level":"error","message":"m"}'),
    ]),
    ("JSON that has a level elsewhere, or is cut off", [
        (INFO, '{"request":{"level":"error"},"level":"info"}'),
        (UNKNOWN, '{"request":{"level":"error"},"message":"m"}'),
        (INFO, '{"level":"info","prompt":"say \\"level\\":\\"error\\""}'),
        (ERROR, '{"level":"error","message":"cut o'),
        (INFO, '{"a":[1],"severity":"info","level":"error"}'),
        (ERROR, '{"a":[1],"severity":{},"level":"error"}'),
        (UNKNOWN, '{"errors":0,"error_rate":0.0,"message":"ERROR"}'),
        (UNKNOWN, "{"),
    ]),
    ("https://brandur.org/logfmt and https://pkg.go.dev/log/slog#TextHandler", [
        (WARNING, 'time="2026-11-29T01:02:03Z" level=warn msg="slow"'),
        (ERROR, 'level=error ts=2026-11-29T01:02:03Z caller=main.go:1 msg="x"'),
        (INFO, 'time=2026-11-29T01:02:03.123Z level=INFO msg="level=error"'),
        (INFO, 'msg="got level=error" level=info'),
        (UNKNOWN, "error_rate=0.0 errors=0"),
    ]),
    ("https://pkg.go.dev/go.uber.org/zap#NewDevelopmentConfig; Istio: pkg/log", [
        (ERROR, "2026-11-29T01:02:03.123Z\tERROR\tmanager\tproblem running".replace("\t", "    ")),
        (INFO, "2026-11-29T01:02:03.123456Z    INFO    cache    generated"),
    ]),
    ("https://www.envoyproxy.io/docs/envoy/latest/operations/cli#cmdoption-log-format", [
        (WARNING, "[2026-11-29 01:02:03.123][1][warning][config] [source/common/config/grpc.cc:1] msg"),
        (INFO, "[2026-11-29 01:02:03.123][1][info][main] [source/server/server.cc:1] errors: 0"),
    ]),
    ("https://nginx.org/en/docs/ngx_core_module.html#error_log", [
        (ERROR, "2026/11/29 01:02:03 [error] 31#31: *1 connect() failed"),
    ]),
    ("https://docs.python.org/3/library/traceback.html, https://docs.python.org/3/library/warnings.html", [
        (ERROR, "Traceback (most recent call last):"),
        (ERROR, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 50.00 MiB."),
        (ERROR, "OSError: You are trying to access a gated repo."),
        (ERROR, "AssertionError"),
        (ERROR, "huggingface_hub.utils._errors.GatedRepoError: 401 Client Error."),
        (WARNING, "/usr/local/lib/python3.10/site-packages/huggingface_hub/file_download.py:1150: FutureWarning: `resume_download` is deprecated"),
        (CRITICAL, "Fatal Python error: Segmentation fault"),
    ]),
    ("https://github.com/pytorch/pytorch/issues/149762 and https://github.com/tmills/uhhmm/issues/61", [
        (CRITICAL, "terminate called after throwing an instance of 'c10::Error'"),
        (ERROR, "  what():  CUDA error: an illegal memory access was encountered"),
    ]),
    ("https://github.com/pytorch/pytorch/pull/1585 (bash)", [
        (CRITICAL, "test/run_test.sh: line 53: 26175 Segmentation fault      $PYCMD test_cuda.py $@"),
    ]),
    ("https://pkg.go.dev/builtin#panic", [
        (CRITICAL, "panic: runtime error: invalid memory address or nil pointer dereference"),
        (UNKNOWN, "goroutine 1 [running]:"),
    ]),
    ("https://github.com/openjdk/jdk, java.lang.ThreadGroup.uncaughtException", [
        (ERROR, 'Exception in thread "main" java.lang.IllegalStateException: x'),
        (UNKNOWN, "    at com.example.Main.main(Main.java:5)"),
    ]),
    ("Lines that only speak of errors", [
        (UNKNOWN, "0 errors"),
        (UNKNOWN, "Found 0 errors and 3 warnings"),
        (UNKNOWN, "error_rate=0.0"),
        (UNKNOWN, "errors: 0"),
        (UNKNOWN, "GET https://example.com/errors?level=error"),
        (INFO, "INFO 11-29 01:02:03 [logger.py:41] Received request cmpl-1: prompt: 'What does ERROR mean?', params: None"),
        (INFO, "INFO 11-29 01:02:03 [stats.py:1] errors: 0, CUDA error count: 0"),
        (UNKNOWN, "no CUDA error was found"),
        (UNKNOWN, "The word ERROR: in the middle of a prompt"),
        (UNKNOWN, "panic in a destructor is explained in the book"),
        (UNKNOWN, "Explain RuntimeError: how is it raised?"),
        (UNKNOWN, "INFORMATION about the model"),
        (UNKNOWN, "ERRORS"),
        (UNKNOWN, "2026-11-29 01:02:03 the answer was [error] free"),
        (UNKNOWN, "Errors are raised"),
        (UNKNOWN, ""),
        (UNKNOWN, "("),
        (UNKNOWN, "[error"),
    ]),
]
# fmt: on
LINES = [(level, line) for _, lines in _TABLE for level, line in lines]


@pytest.mark.parametrize(("level", "line"), LINES)
def test_level_of_real_lines(level: Level, line: str) -> None:
    assert level_of(line) is level


@pytest.mark.parametrize(("level", "line"), LINES)
def test_a_process_tag_changes_no_level(level: Level, line: str) -> None:
    if not line.startswith(("(", "[36m")):
        assert level_of(f"(Worker_TP0 pid=7) {line}") is level


def test_a_block_has_the_levels_of_its_lines() -> None:
    lines = [line for _, line in LINES] * 3
    random.Random(1).shuffle(lines)
    levels = [(index, level_of(line)) for index, line in enumerate(lines)]
    assert find_levels("\n".join(lines)) == [
        (index, level) for index, level in levels if level >= WARNING
    ]
    assert find_levels(lines, ERROR) == [pair for pair in levels if pair[1] >= ERROR]


_TAILS = ["", " ", "CUDA error: x", " - ERROR - x", "\t", ":1] x", "[E] ", '"', " level=info", "{}"]
_HEADS = [line[:cut] for _, line in LINES for cut in (8, 24, 40, 60)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "(APIServer pid=1) ", "[", " ", "[1;36m(A pid=1)[0m "]),
            st.sampled_from(_HEADS),
            st.sampled_from(_TAILS),
        ).map("".join),
        min_size=1,
        max_size=20,
    )
)
def test_lines_that_are_passed_over_are_harmless(lines: list[str]) -> None:
    expected = [(index, level_of(line)) for index, line in enumerate(lines)]
    assert find_levels(lines) == [pair for pair in expected if pair[1] >= WARNING]


@pytest.mark.parametrize(
    ("name", "level"),
    [("Warn", WARNING), ("20", DEBUG), ("60", CRITICAL), ("70", UNKNOWN), ("", UNKNOWN)],
)
def test_names_of_levels(name: str, level: Level) -> None:
    assert level_named(name) is level


def test_long_lines_take_no_long_time_to_refuse() -> None:
    """Each of these made a naive pattern try every way to split the line."""
    for part in ("[a] ", "a.", "a=b ", "x - ", '"level":', "(", "2026-11-29 01:02:03 "):
        assert level_of(part * 100_000) in (UNKNOWN, INFO)
