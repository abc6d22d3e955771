# ruff: noqa: E501  (lines are quoted as they are)
"""Which lines belong to one record."""

from __future__ import annotations

import pytest

from servedeck.logs.records import RecordTracker, is_continuation, is_progress

# Records, each a list of lines, of logs as servers write them; sources as in test_levels.
_LOGS: dict[str, list[list[str]]] = {
    "uvicorn, an error in a handler": [
        ["INFO:     Application startup complete."],
        [
            "ERROR:    Exception in ASGI application",
            "Traceback (most recent call last):",
            '  File "/usr/local/lib/python3.12/site-packages/uvicorn/protocols/http.py", line 409, in run_asgi',
            "    result = await app(",
            "             ^^^^^^^^^^",
            "ValueError: bad input",
            "",
            "During handling of the above exception, another exception occurred:",
            "",
            "Traceback (most recent call last):",
            '  File "/app/main.py", line 3, in handler',
            "RuntimeError: cannot answer",
        ],
        ['INFO:     10.0.0.1:1 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error'],
    ],
    "vLLM: each line of a message has its head": [
        ["(EngineCore_DP0 pid=218) INFO 11-29 01:02:02 [core.py:93] Initializing a V1 LLM engine"],
        [
            "(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700] EngineCore failed to start.",
            "(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700] Traceback (most recent call last):",
            '(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700]   File "core.py", line 506, in run_engine_core',
            "(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700]     engine_core = EngineCoreProc(*args, **kwargs)",
            "(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700] ",
            "(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700] torch.OutOfMemoryError: CUDA out of memory.",
            "(EngineCore_DP0 pid=218) ERROR 11-29 01:02:03 [core.py:700] Last error:",
            "(EngineCore_DP0 pid=218) Process EngineCore_DP0:",
        ],
        [
            "(EngineCore_DP0 pid=218) Traceback (most recent call last):",
            '(EngineCore_DP0 pid=218)   File "/usr/lib/python3.12/multiprocessing/process.py", line 314, in _bootstrap',
            "(EngineCore_DP0 pid=218)     self.run()",
            "(EngineCore_DP0 pid=218) torch.OutOfMemoryError: CUDA out of memory.",
        ],
        ["(APIServer pid=1) INFO 11-29 01:02:04 [launcher.py:1] Shutting down"],
    ],
    "vLLM: two messages in one second from one place": [
        ["INFO 11-29 01:02:03 [loggers.py:123] Engine 000: Running: 3 reqs"],
        ["INFO 11-29 01:02:03 [loggers.py:123] Engine 001: Running: 4 reqs"],
    ],
    "an exception with a message of several lines": [
        ["Downloading the model"],
        [
            "Traceback (most recent call last):",
            '  File "/usr/local/lib/transformers/utils/hub.py", line 543, in cached_files',
            "    raise OSError(",
            "OSError: You are trying to access a gated repo.",
            "Make sure to have access to it at https://huggingface.co/meta-llama/Llama-3.2-1B-Instruct.",
            "401 Client Error. (Request ID: Root=1-695139c1)",
            "",
            "Cannot access gated repo for url https://huggingface.co/config.json.",
        ],
        ["  0%|          | 0/4 [00:00<?, ?it/s]"],
        ["Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03,  1.0s/it]"],
    ],
    "Go": [
        ['time=2026-11-29T01:02:03Z level=INFO msg="started"'],
        ["panic: runtime error: index out of range [1] with length 1", "",
         "goroutine 1 [running]:", "main.main()", "    /app/main.go:8 +0x1d",
         "net/http.(*conn).serve(0xc000120000, {0x1, 0x2})", "    /usr/local/go/src/net/http/server.go:1 +0x1",
         "created by net/http.(*Server).Serve in goroutine 1", "    /usr/local/go/src/net/http/server.go:3 +0x4"],
    ],
    "Java": [
        ['Exception in thread "main" java.lang.IllegalStateException: x', "    at com.example.Main.main(Main.java:5)",
         "Caused by: java.io.IOException: y", "    ... 1 more"],
        ["2026-11-29 01:02:03,123 [main] INFO  com.example.Main - next"],
    ],
    "Rust": [
        ["thread 'main' panicked at src/main.rs:2:5:", "    called `Result::unwrap()` on an `Err` value", "stack backtrace:",
         "   0: rust_begin_unwind", "note: run with `RUST_BACKTRACE=full` environment variable to display a backtrace"],
    ],
    "C++": [
        ["[rank0]:[E1206 18:44:12.715298746 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught",
         "Exception raised from checkTimeout at ../torch/csrc/ProcessGroupNCCL.cpp:565 (most recent call first):",
         "frame #0: c10::Error::Error() + 0x57 (0x7f318fecf897 in libc10.so)", ""],
        ["terminate called after throwing an instance of 'c10::Error'", "  what():  CUDA error"],
    ],
    "Triton: a table": [
        ["I0110 21:30:54.920681 60 server.cc:592]", "+-------+---------+", "| Model | Version |", "+-------+---------+", ""],
        ["I0110 21:30:54.920786 60 tritonserver.cc:1920]"],
    ],
    "printed JSON": [["{", '  "model": "llama",', '  "tools": [', "    1", "  ]", "}"], ["done"]],
}  # fmt: skip


@pytest.mark.parametrize("name", _LOGS)
def test_records_of_real_logs(name: str) -> None:
    tracker = RecordTracker()
    records = _LOGS[name]
    starts = [tracker.starts_record(line) for record in records for line in record]
    expected = [index == 0 for record in records for index in range(len(record))]
    assert starts == expected


@pytest.mark.parametrize(
    ("text", "continues"),
    [
        ("", True),
        ("    raise e", True),
        ('  File "x.py", line 1', True),
        ("ValueError: bad", True),
        ("(EngineCore pid=1) ERROR 11-29 01:02:03 [core.py:700]     raise e", True),
        ("(EngineCore pid=1)     raise e", True),
        ("(EngineCore pid=1) ERROR 11-29 01:02:03 [core.py:700] EngineCore failed", False),
        ("During handling of the above exception, another exception occurred:", True),
        ("}", True),
        ("Traceback (most recent call last):", False),
        ("INFO:     Application startup complete.", False),
        ("  0%|          | 0/4 [00:00<?, ?it/s]", False),
        ("plain words (in brackets)", False),
        ("called foo.bar(x)", False),
        ("What is a ValueError: explain", False),
    ],
)
def test_one_line_alone(text: str, continues: bool) -> None:
    assert is_continuation(text) is continues


def test_a_long_talk_after_a_traceback_is_not_part_of_it() -> None:
    tracker = RecordTracker()
    lines = ["Traceback (most recent call last):", "  x", "ValueError: y", *["print"] * 50]
    starts = [tracker.starts_record(line) for line in lines]
    assert starts == [True, *[False] * 22, *[True] * 30]


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:00<00:02]", True),
        ("model.safetensors:   3%|▎         | 1.2G/40G [00:01<00:30, 1.2GB/s]", True),
        ("model.safetensors:  13% 118M/892M [00:03<00:21, 35.5MB/s]", True),
        ("Fetching 9 files: 100%|##########| 9/9 [00:01<00:00]", True),
        ("GPU KV cache usage: 3.2%, Prefix cache hit rate: 0.0%", False),
        ("done", False),
    ],
)
def test_progress(text: str, progress: bool) -> None:
    assert is_progress(text) is progress
