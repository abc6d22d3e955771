"""python -m benchmarks: fill a control plane, measure servedeck against it, print the results.

Requires the control plane binaries in KUBEBUILDER_ASSETS. Exit code 1 if a budget is exceeded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import (
    control_plane_setup,
    demo,
    edit,
    log_buffer,
    log_throughput,
    micro,
    page,
    report,
)
from benchmarks.measure import (
    PROFILE_ENV,
    BenchmarkPlan,
    ClusterAccess,
    Measurement,
    measure_program,
    measure_start,
    servedeck_path,
)
from tests.control_plane.control_plane import ControlPlane, missing_binaries_message

MINUTE_AGES_AFTER = 600
"""Seconds after which the age of a serving is shown in minutes only."""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--servings", type=int, default=BenchmarkPlan.servings)
    parser.add_argument(
        "--replicas", type=int, default=BenchmarkPlan.replicas, help="Pods of each serving"
    )
    parser.add_argument(
        "--large-serving",
        type=int,
        default=2_000,
        help="Pods of one more serving, whose page is measured at the end; 0 for none",
    )
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument(
        "--rate", type=float, default=BenchmarkPlan.rate, help="changes of Pods a second"
    )
    parser.add_argument("--events", type=int, default=BenchmarkPlan.event_count)
    parser.add_argument("--keys", type=int, default=BenchmarkPlan.key_count)
    parser.add_argument(
        "--window", type=float, default=BenchmarkPlan.window_seconds, help="seconds, CPU and bytes"
    )
    parser.add_argument("--size", default="160x50", help="columns and rows of the terminal")
    parser.add_argument("--peer", default="", help="a command to measure beside servedeck")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--profile", type=Path, help="profile servedeck under load into this file")
    parser.add_argument("--only-micro", action="store_true", help="single parts alone")
    parser.add_argument(
        "--only-alone", action="store_true", help="single parts, the demo and the log; no servers"
    )
    parser.add_argument(
        "--only-edit",
        action="store_true",
        help="the edit form alone; a peer is another servedeck",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=10,
        help="seconds to rest before measuring; after 600 ages no longer change each second",
    )
    parser.add_argument("--root", type=Path, help="keep the control plane's files here")
    return parser.parse_args()


def build_plan(args: argparse.Namespace) -> BenchmarkPlan:
    columns, rows = map(int, args.size.split("x"))
    return BenchmarkPlan(
        servings=args.servings,
        replicas=args.replicas,
        rate=args.rate,
        event_count=args.events,
        key_count=args.keys,
        window_seconds=args.window,
        terminal_size=(columns, rows),
    )


def measure_without_cluster(plan: BenchmarkPlan) -> dict[str, Any]:
    """Benchmarks without a control plane: the demo, the maximum log throughput, and the buffer of a
    log."""
    return {
        "demo": asyncio.run(demo.measure_demo(plan)),
        "log": log_throughput.measure_log(plan.terminal_size),
        "log_pods": log_throughput.measure_log(plan.terminal_size, pods=log_throughput.MERGED_PODS),
        "log_buffer": log_buffer.measure_buffer(),
    }


async def measure_screens(program: Measurement) -> dict[str, Any]:
    """All figures of the other screens of servedeck, in a program that shows the list."""
    return {"page": await page.measure_page(program), "edit": await edit.measure_edit(program)}


async def measure_cluster(
    args: argparse.Namespace, plan: BenchmarkPlan, plane: ControlPlane
) -> dict[str, Any]:
    """Fill the control plane, then measure servedeck and the comparison program."""
    took = await control_plane_setup.create_servings(plane, range(args.servings), args.replicas)
    print(f"filled in {took:.0f} s", file=sys.stderr)
    cluster = ClusterAccess(plane.url, plane.tokens["admin"], plane.write_kubeconfig())
    await asyncio.sleep(args.settle)
    complete = rf"\b{args.servings} Ready\b"
    peer = shlex.split(args.peer)
    if peer:
        peer[0] = shutil.which(peer[0]) or peer[0]
    result: dict[str, Any] = {
        "setup": {"servings": args.servings, "pods": args.servings * args.replicas}
    }
    if args.only_edit:
        argvs = {"servedeck": [servedeck_path(), "-A"], "peer": peer}
        for name, argv in argvs.items():
            if argv:
                result[name] = await edit.measure_edit_alone(argv, cluster, plan, complete)
        return result
    argv = [servedeck_path(), "-A"]
    if args.profile:
        os.environ[PROFILE_ENV] = str(args.profile.resolve())
        argv = [sys.executable, "-m", "benchmarks.run_profiled", "-A"]
    start = await measure_start(argv, cluster.kubeconfig, plan, complete)
    ours = await measure_program(argv, cluster, plan, complete, measure_screens)
    ours |= {"start": start}
    if args.settle >= MINUTE_AGES_AFTER and "quiet" in ours:
        ours["quiet"]["settled_bytes_per_s"] = ours["quiet"]["bytes_per_s"]
    if args.large_serving:
        print("creating the large serving", file=sys.stderr)
        await control_plane_setup.create_servings(
            plane, [page.LARGE_SERVING_NUMBER], args.large_serving
        )
        ours["large"] = await page.measure_large_serving(
            [servedeck_path(), "-A"], cluster, plan, rf"\b{args.servings + 1} Ready\b"
        )
    result["servedeck"] = ours
    if peer:
        result["peer"] = await measure_program(peer, cluster, plan, "")
    return result


def main() -> int:
    args = parse_args()
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "servedeck": {} if args.only_edit else {"micro": micro.run_all()},
    }
    ours, plan = result["servedeck"], build_plan(args)
    if not args.only_micro and not args.only_edit:
        ours |= measure_without_cluster(plan)
    if not args.only_micro and not args.only_alone:
        if reason := missing_binaries_message():
            print(reason, file=sys.stderr)
            return 2
        plane = control_plane_setup.start_control_plane(args.root, args.nodes)
        try:
            found = asyncio.run(measure_cluster(args, plan, plane))
            ours |= found.pop("servedeck")
            result |= found
        finally:
            plane.stop()
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False))
    budgets = report.BUDGETS
    if args.only_edit:
        budgets = tuple(budget for budget in budgets if "edit" in budget.path)
    elif args.only_micro or args.only_alone:
        measured = (
            {"micro"} if args.only_micro else {"micro", "demo", "log", "log_pods", "log_buffer"}
        )
        budgets = tuple(budget for budget in budgets if budget.path[0] in measured)
    print(report.format_table(ours, result.get("peer"), budgets))
    if "not_reached" in ours:
        print(f"servedeck did not reach {ours['not_reached']}; its screen:")
        print("\n".join(ours["screen"]))
    return 1 if report.missed_budgets(ours, budgets) else 0


if __name__ == "__main__":
    sys.exit(main())
