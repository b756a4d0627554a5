"""``python -m bench``, as of ``make bench``: the matrix."""

import sys

from bench.matrix.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
