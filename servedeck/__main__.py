"""`python -m servedeck` is the `servedeck` command."""

import sys

from servedeck.cli import main

if __name__ == "__main__":
    sys.exit(main())
