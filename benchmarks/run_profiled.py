"""Run the servedeck command with a profiler that SIGUSR1 starts; SIGUSR2 stops it and writes its
statistics to the file named in the environment."""

from __future__ import annotations

import cProfile
import os
import signal
import sys

from servedeck.cli import main

if __name__ == "__main__":
    profile = cProfile.Profile()
    target = os.environ["SERVEDECK_BENCHMARK_PROFILE"]

    def stop(*_: object) -> None:
        profile.disable()
        profile.dump_stats(target)

    signal.signal(signal.SIGUSR1, lambda *_: profile.enable())
    signal.signal(signal.SIGUSR2, stop)
    sys.argv[0] = "servedeck"
    sys.exit(main())
