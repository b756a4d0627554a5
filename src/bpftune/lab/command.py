"""The process that becomes the command under test, and dies with the laboratory."""

from __future__ import annotations

import os
import sys

from bpftune.lab.child import begin


def main() -> None:
    """Become the planned command."""
    command = begin()["command"]
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
