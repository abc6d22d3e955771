"""Metrics that are scraped from Pods and evaluated here: pages read, samples kept, expressions.

    python -m benchmarks.promql

prints the figures as JSON, in milliseconds of CPU time, beside their budgets. The exit code is 1
when the best of the times misses its budget: other programs on the machine only make them longer.
50 Pods have a page of vLLM each 5 s, of which the samples of four histograms and ten other metrics
are kept until the memory is full.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from servedeck.demo.workloads import metrics
from servedeck.metrics.sample_ring import SampleRing
from servedeck.promql import exposition
from servedeck.promql.evaluation import evaluate, evaluate_range
from servedeck.promql.parser import parse_expression
from tests.demo.cluster_fixture import running_instance, started_cluster

PODS = 50
INTERVAL = 5.0
STEPS = 240
STEP = 15.0
PAGES = 1500
"""Of each Pod: two hours, more than the memory has room for."""
WANTED = (
    *(f"vllm:{name}_seconds_{part}"
      for name in ("e2e_request_latency", "time_to_first_token", "inter_token_latency",
                   "request_queue_time")
      for part in ("bucket", "count", "sum")),
    "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
    "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total",
    "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total",
    "process_start_time_seconds", "process_resident_memory_bytes",
)  # fmt: skip
EXPRESSION = (
    "histogram_quantile(0.99, sum by (le) "
    '(rate(vllm:time_to_first_token_seconds_bucket{namespace="n",pod=~"llama-.*"}[2m])))'
)
BUDGETS = {"page read": 5.0, "range": 250.0, "newest step": 5.0}
"""Milliseconds."""


def measure(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Best, median and worst of the calls, in milliseconds."""
    took = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        took.append(1000 * (time.thread_time() - start))
    figures = {"best": min(took), "median": statistics.median(took), "worst": max(took)}
    return {f"{name}_ms": round(value, 3) for name, value in figures.items()}


def make_pages(count: int) -> list[bytes]:
    """Pages of one instance, one each interval, with as many other lines as a real server has."""
    cluster = started_cluster()
    cluster.until(cluster.ready)
    cluster.advance(600)
    other = "".join(
        f'python_gc_collected_total{{generation="{number % 3}",n="{number}"}} {number}\n'
        for number in range(360)
    )
    pages = []
    for _ in range(count):
        cluster.advance(INTERVAL)
        page = metrics.render_metrics(running_instance(cluster), cluster.clock.time())
        pages.append((other + page).encode())
    return pages


def run() -> dict[str, Any]:
    pages = make_pages(60)
    exposition.load_library()
    first = measure(lambda: exposition.parse_page(pages[0], WANTED), 1)
    turns = iter(pages * 10)
    read = measure(lambda: exposition.parse_page(next(turns), WANTED), 300)
    samples = [exposition.parse_page(page, WANTED) for page in pages]
    ring = SampleRing()

    def append(number: int) -> None:
        # Counters increase over the hours as they do over the pages, five minutes.
        turn, at = divmod(number, len(samples))
        for pod in range(PODS):
            labels = {"namespace": "n", "pod": f"llama-{pod}", "instance": f"10.0.0.{pod}:8000"}
            page = (
                one._replace(value=one.value + turn * samples[-1][index].value)
                for index, one in enumerate(samples[at])
            )
            ring.append(labels, number * INTERVAL + pod * 0.09, page)

    numbers = iter(range(PAGES))
    appended = measure(lambda: append(next(numbers)), PAGES)
    parsed = measure(lambda: parse_expression(EXPRESSION), 50)
    expression, end = parse_expression(EXPRESSION), PAGES * INTERVAL
    whole = measure(
        lambda: evaluate_range(expression, ring, end - (STEPS - 1) * STEP, end, STEP), 10
    )
    newest = measure(lambda: evaluate(expression, ring, end), 50)
    buckets = list(ring.select("vllm:time_to_first_token_seconds_bucket", (), end - 60, end))
    page = pages[0]
    return {
        "page": {"lines": page.count(b"\n"), "bytes": len(page), "samples": len(samples[0])},
        "ring_mib": round(ring.size / (1 << 20), 1),
        "series": len(buckets),
        "first page": first,
        "page read": read,
        f"pages of {PODS} Pods kept": appended,
        "expression parsed": parsed,
        "range": whole,
        "newest step": newest,
    }  # fmt: skip


def main() -> int:
    result = run()
    missed = [name for name, limit in BUDGETS.items() if result[name]["best_ms"] > limit]
    print(json.dumps(result | {"budgets_ms": BUDGETS, "missed": missed}, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
