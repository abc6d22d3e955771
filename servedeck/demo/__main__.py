"""The demo's own process, as `servedeck --demo` starts it."""

import sys

from servedeck.demo.cluster import child

if __name__ == "__main__":
    sys.exit(child(sys.argv[1:]))
