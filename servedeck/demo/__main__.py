"""The demo's child process, as `servedeck --demo` starts it."""

import sys

from servedeck.demo.process import run_child

if __name__ == "__main__":
    sys.exit(run_child(sys.argv[1:]))
