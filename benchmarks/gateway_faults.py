"""The async gateway under load while its processes and Valkey are killed: what was accepted, and
what became of it.

    python -m benchmarks.gateway_faults                            # a minute at 1,500/s
    python -m benchmarks.gateway_faults --fsync everysec --kill power

Kills, by default one of all kinds every 3 to 5 seconds: `accept`, `deliver` (kill -9 of the process
of that role), `valkey` (kill -9), `power` (kill -9, and the loss of what no fsync covers).
Prints JSON; exits with 1 if a task was lost or has ended twice. With an fsync each second a power
cut loses tasks: that run is there to show how many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from benchmarks.gateway import inference_server, port_of
from benchmarks.gateway_load import Load, make_body, make_request
from servedeck.gateway.stores.store import TaskStore
from tests.gateway.faults.cluster import Account, GatewayCluster, wait_until_drained
from tests.gateway.valkey_server import ValkeyServer, build_shim

KINDS = ("accept", "deliver", "valkey", "power")
PAUSE = (3.0, 5.0)
"""Seconds between two kills."""


class Killer:
    def __init__(self, cluster: GatewayCluster, load: Load, kinds: list[str]) -> None:
        self._cluster, self._load, self._kinds = cluster, load, kinds
        self._random = random.Random(1)
        self.kills: Counter[str] = Counter()

    async def run(self) -> None:
        while self._kinds:
            await asyncio.sleep(self._random.uniform(*PAUSE))
            kind = self._random.choice(self._kinds)
            valkey = self._cluster.valkey
            if kind == "power":
                await asyncio.to_thread(valkey.cut_power)
                await asyncio.to_thread(valkey.start)
            elif kind == "valkey":
                await asyncio.to_thread(valkey.restart)
            else:
                await self._cluster.restart(kind)
                self._load.port = port_of(self._cluster.processes["accept"])
            self.kills[kind] += 1


async def run(options: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        valkey = ValkeyServer(folder / "valkey", fsync=options.fsync, shim=build_shim(folder))
        try:
            async with inference_server() as url:
                cluster = GatewayCluster(folder, valkey, url, pod_concurrency=64)
                try:
                    return await _run(cluster, options)
                finally:
                    await cluster.close()
        finally:
            valkey.close()


async def _run(cluster: GatewayCluster, options: argparse.Namespace) -> dict[str, object]:
    accepted: list[str] = []
    accept = await cluster.start("accept", "accept")
    await cluster.start("deliver", "deliver")
    load = Load(port_of(accept), make_request(make_body()), on_accept=accepted.append)
    killer = Killer(cluster, load, options.kill)
    store = cluster.open_store()
    await store.open()
    account = Account()
    killing = asyncio.create_task(killer.run())
    # The feed keeps fewer events than there are. With an fsync each second a power cut takes events
    # that were read, too: then it is the tasks that are looked at.
    is_safe = options.fsync == "always"
    following = asyncio.create_task(account.follow(store)) if is_safe else None
    await load.run(options.rate, options.seconds)
    killing.cancel()
    await asyncio.gather(killing, return_exceptions=True)
    load.close()
    for name, process in cluster.processes.items():
        if process.has_ended:  # the run ended between its kill and its start
            await cluster.processes[name].start()
    await wait_until_drained(store)
    if following is not None:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await account.read_on(store)
        lost = account.lost(accepted)
    else:
        ended = await _ended_tasks(store)
        lost = [one for one in accepted if one not in ended]
    await store.close()
    return {
        "kills": dict(killer.kills),
        "accepted": len(accepted),
        "lost": len(lost),
        "ended twice": len(account.ended_twice) if is_safe else None,
        "states": {str(state): count for state, count in account.states.items()},
        "delivered again": account.claimed_again,
        "answers": {str(status): count for status, count in load.statuses.items()},
        "connections lost": load.broken,
        "p50_ms": round(load.percentile(0.5), 1),
        "p99_ms": round(load.percentile(0.99), 1),
    }


async def _ended_tasks(store: TaskStore) -> set[str]:
    ended: set[str] = set()
    after = ""
    while page := await store.page(None, after, 1000):
        ended.update(one.id for one in page if one.state.is_final)
        after = page[-1].id
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gateway_faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=1_500.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fsync", choices=("always", "everysec"), default="always")
    parser.add_argument("--kill", choices=KINDS, nargs="*", default=list(KINDS))
    found = uvloop.run(run(parser.parse_args()))
    print(json.dumps(found, indent=1))
    return bool(found["lost"] or found["ended twice"])


if __name__ == "__main__":
    sys.exit(main())
