"""python -m benchmarks: fill a control plane, measure servedeck on it, print the figures.

Needs the servers that KUBEBUILDER_ASSETS names. Exit code 1 when a budget is missed.
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

from benchmarks import demo, log, micro, report, rig
from benchmarks.measure import PROFILE_ENV, Cluster, Plan, command, measure, start_up
from tests.control_plane.plane import ControlPlane, missing

SETTLED = 600
"""Seconds after which the age of a serving is shown in minutes alone."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--servings", type=int, default=Plan.servings)
    parser.add_argument("--replicas", type=int, default=Plan.replicas, help="Pods of each serving")
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="changes of Pods a second")
    parser.add_argument("--events", type=int, default=Plan.events)
    parser.add_argument("--keys", type=int, default=Plan.keys)
    parser.add_argument("--window", type=float, default=Plan.window, help="seconds, CPU and bytes")
    parser.add_argument("--size", default="160x50", help="columns and rows of the terminal")
    parser.add_argument("--peer", default="", help="a command to measure beside servedeck")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--profile", type=Path, help="profile servedeck under load into this file")
    parser.add_argument("--only-micro", action="store_true", help="single parts alone")
    parser.add_argument(
        "--only-alone", action="store_true", help="single parts, the demo and the log; no servers"
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=10,
        help="seconds to rest before measuring; after 600 ages no longer change each second",
    )
    parser.add_argument("--root", type=Path, help="keep the control plane's files here")
    return parser.parse_args()


def planned(args: argparse.Namespace) -> Plan:
    columns, rows = map(int, args.size.split("x"))
    return Plan(
        servings=args.servings,
        replicas=args.replicas,
        rate=args.rate,
        events=args.events,
        keys=args.keys,
        window=args.window,
        size=(columns, rows),
    )


def alone(plan: Plan) -> dict[str, Any]:
    """What needs no control plane: the demo, and a log as fast as it can be followed."""
    return {"demo": asyncio.run(demo.measure(plan)), "log": log.measure(plan.size)}


async def whole(args: argparse.Namespace, plan: Plan, plane: ControlPlane) -> dict[str, Any]:
    """Fill the control plane and measure servedeck, then the peer."""
    took = await rig.fill(plane, args.servings, args.replicas)
    print(f"filled in {took:.0f} s", file=sys.stderr)
    cluster = Cluster(plane.url, plane.tokens["admin"], plane.kubeconfig())
    await asyncio.sleep(args.settle)
    complete = rf"\b{args.servings} Ready\b"
    argv = [command(), "-A"]
    if args.profile:
        os.environ[PROFILE_ENV] = str(args.profile.resolve())
        argv = [sys.executable, "-m", "benchmarks.profiled", "-A"]
    start = await start_up(argv, cluster.kubeconfig, plan, complete)
    ours = await measure(argv, cluster, plan, complete) | {"start": start}
    if args.settle >= SETTLED and "quiet" in ours:
        ours["quiet"]["settled_bytes_per_s"] = ours["quiet"]["bytes_per_s"]
    result = {"rig": {"servings": args.servings, "pods": args.servings * args.replicas}}
    result |= {"servedeck": ours}
    if args.peer:
        peer = shlex.split(args.peer)
        peer[0] = shutil.which(peer[0]) or peer[0]
        result["peer"] = await measure(peer, cluster, plan, "")
    return result


def main() -> int:
    args = parse()
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "servedeck": {"micro": micro.run()},
    }
    ours, plan = result["servedeck"], planned(args)
    if not args.only_micro:
        ours |= alone(plan)
    if not args.only_micro and not args.only_alone:
        if reason := missing():
            print(reason, file=sys.stderr)
            return 2
        plane = rig.start(args.root, args.nodes)
        try:
            found = asyncio.run(whole(args, plan, plane))
            ours |= found.pop("servedeck")
            result |= found
        finally:
            plane.stop()
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False))
    measured = {"micro"} if args.only_micro else {"micro", "demo", "log"}
    budgets = report.BUDGETS
    if args.only_micro or args.only_alone:
        budgets = tuple(budget for budget in budgets if budget.path[0] in measured)
    print(report.table(ours, result.get("peer"), budgets))
    if "not_reached" in ours:
        print(f"servedeck did not reach {ours['not_reached']}; its screen:")
        print("\n".join(ours["screen"]))
    return 1 if report.missed(ours, budgets) else 0


if __name__ == "__main__":
    sys.exit(main())
