"""Repeated lines and progress bars."""

from __future__ import annotations

import pytest

from servedeck.logs.folding import fold_key


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "INFO 11-29 01:02:03 [loggers.py:123] Engine 000: Running: 3 reqs, usage: 3.2%",
            "INFO 11-29 01:02:13 [loggers.py:123] Engine 000: Running: 12 reqs, usage: 13.25%",
        ),
        (
            'INFO:     10.0.0.1:1 - "GET /health HTTP/1.1" 200 OK',
            'INFO:     10.244.13.7:51234 - "GET /health HTTP/1.1" 200 OK',
        ),
        (
            "2026-11-29T01:02:03.123456Z  INFO x: took 1.98s",
            "2026-11-29T01:02:04.9Z  INFO x: took 250ms",
        ),
        (
            "Received request cmpl-8594ffb6b3401a81-0",
            "Received request cmpl-7eed2976fe094c5f-12",
        ),
        (
            "id 123e4567-e89b-12d3-a456-426614174000",
            "id 00000000-0000-0000-0000-000000000000",
        ),
        ("at 0x7f318fecf897", "at 0x71"),
        ("from fe80::52d3:3bff:fe00:706 x", "from fe80:1:2:3:4:5:6:7 x"),
        ("resumed at 1.2G", "resumed at 900M"),
        (
            "Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:00<00:02,  1.98s/it]",
            "Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:02<00:00, 21.28it/s]",
        ),
        (
            "model.safetensors:   3%|▎         | 1.2G/40G [00:01<00:30, 1.2GB/s]",
            "model.safetensors: 100%|██████████| 40G/40G [00:33<00:00, 900MB/s]",
        ),
    ],
)
def test_repetitions(first: str, second: str) -> None:
    assert fold_key(first) == fold_key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("GET /health", "GET /metrics"),
        ("INFO 11-29 01:02:03 x", "ERROR 11-29 01:02:03 x"),
        ("tokenizer.json: 10%|# | 1/9 [", "model.safetensors: 10%|# | 1/9 ["),
        ("deadline", "feedface"),
        ("y" * 5000 + "a", "y" * 5000 + "b"),
    ],
)
def test_different_lines(first: str, second: str) -> None:
    assert fold_key(first) != fold_key(second)
