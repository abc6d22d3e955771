"""`servedeck demo serve`: a demo cluster that runs until it is interrupted."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Protocol

from servedeck.demo.cluster import DemoCluster
from servedeck.demo.errors import DemoError, OptionError
from servedeck.paths import expand_home


class ServeOptions(Protocol):
    """The options of `servedeck demo serve`."""

    port: int
    state: str | None
    seed: int
    speed: float


def serve(args: ServeOptions) -> int:
    """Serves until a signal comes; the exit status."""
    try:
        return asyncio.run(_serve(args))
    except DemoError as error:
        sys.stderr.write(f"servedeck: {error}\n")
        return error.exit_code


def _state_file(text: str) -> Path:
    path = expand_home(Path(text))
    if not path.parent.is_dir():
        raise OptionError(f"The directory {path.parent} for the state does not exist; create it.")
    return path


async def _serve(args: ServeOptions) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if not 0 < args.speed < float("inf"):
        raise OptionError(f"The speed must be above 0, not {args.speed:g}.")
    if not 0 <= args.port <= 65535:
        raise OptionError(f"The port must be between 0 and 65535, not {args.port}.")
    state = _state_file(args.state) if args.state else None
    async with DemoCluster(seed=args.seed, speed=args.speed, port=args.port, state=state) as demo:
        sys.stdout.write(
            f"The demo cluster is available at {demo.url} until you press ctrl+c. "
            f"Its endpoints are at {demo.endpoints_url}/NAMESPACE/NAME. "
            "In another terminal:\n"
            f"export KUBECONFIG={demo.kubeconfig}\n"
        )
        sys.stdout.flush()
        await stop.wait()
    return 0
