"""All benchmarks, one after the other: what bpftune gains and what it costs.

    python -m bench [--full]

Results are written to ``bench/results``. Without ``--full`` (some twelve hours)
the paths with one flow of cubic stand for the others, and one with too large a buffer
for those that congestion control matters on.
"""

from __future__ import annotations

import argparse
import sys

from bench import (
    congestion,
    congestion_cost,
    initial_sizes,
    overhead,
    receive_buffers,
    send_buffers,
)


def main() -> int:
    """Run them all; return the number of those that failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every case")
    options = parser.parse_args()
    failed = int(overhead.main([]) > 0)
    failed += int(congestion_cost.main([]) > 0)
    asked = [] if options.full else ["--quick"]
    failed += int(send_buffers.main(asked) > 0)
    failed += int(receive_buffers.main(asked) > 0)
    failed += int(initial_sizes.main(asked) > 0)
    asked = [] if options.full else ["bufferbloat", "--reference-seconds", "120"]
    failed += int(congestion.main(asked) > 0)
    return failed


if __name__ == "__main__":
    sys.exit(main())
