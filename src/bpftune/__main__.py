"""Lets ``python -m bpftune`` be the command ``bpftune``."""

import sys

from bpftune.cli import main

if __name__ == "__main__":
    sys.exit(main())
