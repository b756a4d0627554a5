"""Run tests, or a command, under other kernels.

    python -m tests.vm 6.1 newest --tests part
    python -m tests.vm all -- COMMAND

A kernel is a series (6.12), ``newest`` or ``all``. What is run is root there, in this
checkout; two kernels at a time. Exit status: 0 if it succeeded under all of them, 1 if
it failed under one, 77 if a kernel could not be tried at all; with --if-possible that
is 0 as well, and said loudly.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.pace import EMULATED
from tests.vm.chosen import COMMANDS
from tests.vm.errors import CannotTryError, GuestBrokeError
from tests.vm.guest import TIMED_OUT, Ended, Guest, Machines
from tests.vm.kernels import KERNELS, cache_directory, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from tests.vm.kernels import Kernel

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
ATTEMPTS = 2
ENVIRONMENT = {
    EMULATED: "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    # To look for plugins reads what describes each package, file by file.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}
_fetching = threading.Lock()  # apt's own lock is an error to whoever comes second
NOT_TRIED = 77
"""Exit status for what could not be tried, as Automake's tests have it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one kernel: *ended* is None if it could not be tried."""

    series: str
    release: str
    ended: Ended | None
    said: str

    def __str__(self) -> str:
        """One line of the table at the end."""
        kernel = f"{self.series:<7} {self.release:<32}"
        if self.ended is None:
            return f"{kernel} NOT TRIED: {self.said}"
        words = {0: "passed", TIMED_OUT: "TIMED OUT"}
        word = words.get(self.ended.status, f"FAILED ({self.ended.status})")
        _, boot_s, took_s, cpu_s = self.ended
        times = f"boot {boot_s:3.0f} s, all {took_s:4.0f} s, CPU {cpu_s:4.0f} s"
        return f"{kernel} {word:<12} {times}  {self.said}"


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """Return 1 if something failed, else 77 if something was not tried, else 0."""
    if any(one.ended is not None and one.ended.status for one in outcomes):
        return 1
    return NOT_TRIED if any(one.ended is None for one in outcomes) else 0


class Reporter:
    """Output of several machines at once, line by line, each with its kernel."""

    def __init__(self, *, named: bool) -> None:
        """With *named*, lines begin with the kernel that they are from."""
        self._named = named
        self._lock = threading.Lock()

    def say(self, series: str, line: str) -> None:
        """Print a line."""
        with self._lock:
            print(f"{series:<7} {line}" if self._named else line, flush=True)


def try_kernel(
    series: str,
    options: argparse.Namespace,
    command: Sequence[str],
    report: Reporter,
    machines: Machines,
) -> Outcome:
    """Run *command* under the kernel; once more if the machine breaks."""
    last = ""

    def hear(line: str) -> None:
        nonlocal last
        last = line.strip(" =") or last
        report.say(series, line)

    kernel: Kernel | None = None
    release = "?"
    out = options.out / series
    out.mkdir(parents=True, exist_ok=True)
    environment = ENVIRONMENT | dict(one.split("=", 1) for one in options.env)
    try:
        with _fetching:
            kernel = fetch(series)
        release = kernel.release
        guest = Guest(kernel, command, ROOT, out.resolve(), environment, machines)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                ended = guest.run(hear, options.timeout)
            except GuestBrokeError as error:
                report.say(series, f"attempt {attempt}: {error}")
            else:
                return Outcome(series, release, ended, last)
    except CannotTryError as error:
        return Outcome(series, release, None, str(error))
    return Outcome(series, release, Ended(1, 0, 0, 0), "the machine broke each time")


@contextmanager
def stopping(machines: Machines) -> Iterator[None]:
    """End the machines when this process is asked to end, by Ctrl-C or SIGTERM."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        machines.stop()
        raise SystemExit(128 + number)

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def give_back(out: Path, to: Path = ROOT) -> None:
    """Let what root wrote below *out* be of the user who owns the checkout."""
    owner = to.stat()
    for path in (out, *out.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def main(argv: Sequence[str]) -> int:
    """Run what *argv* says; see above."""
    words = list(argv)
    command: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kernels", nargs="+", metavar="KERNEL")
    parser.add_argument("--tests", choices=sorted(COMMANDS), help="those to run")
    parser.add_argument(
        "--timeout", type=float, default=1500, help="seconds for each kernel"
    )
    parser.add_argument(
        "--if-possible",
        action="store_true",
        help="do not fail where a kernel cannot be had",
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="machines")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--out",
        type=Path,
        default=cache_directory() / "out",
        help="where /run/vm of the guests is kept, by kernel",
    )
    options = parser.parse_args(words)
    if bool(command) == bool(options.tests):
        parser.error("give either --tests or a command after --")
    command = command or list(COMMANDS[options.tests])
    series = list(KERNELS) if "all" in options.kernels else options.kernels
    report, machines = Reporter(named=len(series) > 1), Machines()
    with ThreadPoolExecutor(options.at_once) as pool, stopping(machines):
        outcomes = list(
            pool.map(
                lambda one: try_kernel(one, options, command, report, machines), series
            )
        )
    give_back(options.out)
    print()
    for outcome in outcomes:
        print(outcome)
    status = exit_status(outcomes)
    if status == NOT_TRIED and options.if_possible:
        print("WARNING: NOT TESTED under every kernel that was to be tried; see above")
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
