"""Targets for the tests of metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from servedeck.metrics.target import MetricsTarget, TargetPod

PODS = ("llama-6d4f8b7c9-x7k2p", "llama-6d4f8b7c9-bbbbb", "llama-55c7d8f6b-zz2z9")


def target(
    template: str = "vllm", pods: Iterable[str] = PODS, unready: Iterable[str] = (), **more: Any
) -> MetricsTarget:
    """The Deployment chat/llama with Pods, all Ready but for the `unready` ones."""
    known = [*(TargetPod(one, True) for one in pods), *(TargetPod(one, False) for one in unready)]
    values = {"namespace": "chat", "name": "llama", "port": 8000, "is_tls": False, **more}
    return MetricsTarget(template=template, pods=tuple(known), **values)
