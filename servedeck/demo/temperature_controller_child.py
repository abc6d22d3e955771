"""`servedeck controller` as a child of the demo, which it never outlives.

Arguments: the descriptor of a pipe that the demo holds open, then those of servedeck.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading


def _end_with_parent(pipe: int) -> None:
    os.read(pipe, 1)  # nothing is written to it: it ends with the demo
    os._exit(1)


if __name__ == "__main__":
    watched = int(sys.argv.pop(1))
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()
    runpy.run_module("servedeck", run_name="__main__", alter_sys=True)
