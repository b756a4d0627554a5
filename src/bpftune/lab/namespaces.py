"""Named network namespaces that live as long as a ``with`` block.

The name holds the pid of the process that made it, and that process holds a
lock while it lives, so that whoever comes next can remove those of the dead.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import itertools
import os
import re
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bpftune.lab.errors import RUN, LabError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

T = TypeVar("T")

RUN_NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
SO_NETNS_COOKIE = 71
_NAME = re.compile(r"bpftune-lab-(\d+)-\d+-\w+")
_numbers = itertools.count()
_locks: dict[int, int] = {}


def run_ip(*arguments: str, batch: str | None = None) -> str:
    """Run ``ip`` and return what it prints; LabError if it fails."""
    command = ["ip", *arguments] + (["-batch", "-"] if batch is not None else [])
    try:
        done = subprocess.run(
            command, input=batch, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise LabError("the command ip is missing: install iproute2") from None
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def set_namespace(path: Path) -> None:
    """Move the calling thread into the network namespace at *path*."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET):
            error = ctypes.get_errno()
            raise LabError(f"cannot enter {path}: {os.strerror(error)}")
    finally:
        os.close(descriptor)


def _lock_of(pid: int | str) -> Path:
    return RUN / f"{pid}.lock"


def _show_alive() -> None:
    """Hold this process's lock from now on."""
    pid = os.getpid()
    if pid not in _locks:
        RUN.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        _locks[pid] = os.open(_lock_of(pid), flags, 0o600)
        atexit.register(_lock_of(pid).unlink, missing_ok=True)
        fcntl.flock(_locks[pid], fcntl.LOCK_EX)


def _is_alive(pid: str) -> bool:
    """Tell whether *pid* is a laboratory, and not only a later process."""
    if int(pid) == os.getpid():
        return True
    if not Path("/proc", pid).exists():
        return False
    try:
        lock = os.open(_lock_of(pid), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def remove_stale() -> list[str]:
    """Remove the namespaces of laboratories whose process is dead."""
    if not RUN_NETNS.is_dir():
        return []
    gone = []
    for path in RUN_NETNS.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and not _is_alive(match[1]):
            try:
                run_ip("netns", "delete", path.name)
            except LabError:
                if path.exists():  # else another laboratory was faster
                    raise
            gone.append(path.name)
    for lock in RUN.glob("[0-9]*.lock"):
        if not _is_alive(lock.stem):
            lock.unlink(missing_ok=True)
    return gone


class Namespace:
    """A network namespace; gone after the ``with`` block or ``close``."""

    def __init__(self, role: str) -> None:
        """Name it; *role* is a word for people. ``make`` or ``with`` makes it."""
        self.name = f"bpftune-lab-{os.getpid()}-{next(_numbers)}-{role}"
        self.path = RUN_NETNS / self.name

    def make(self) -> None:
        """Make it, with ``lo`` up; whoever calls this will ``close`` it."""
        _show_alive()
        run_ip("netns", "add", self.name)
        self.ip("link set lo up")

    def __enter__(self) -> Namespace:
        try:
            self.make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete it; what runs inside goes on in a namespace without a name."""
        if self.path.exists():
            run_ip("netns", "delete", self.name)

    def ip(self, *commands: str) -> None:
        """Run ``ip`` commands inside, one string each."""
        run_ip("-netns", self.name, batch="\n".join(commands) + "\n")

    def inside(self, do: Callable[[], T]) -> T:
        """Call *do* in a thread that is inside the namespace."""
        result: list[T] = []
        failure: list[BaseException] = []

        def enter() -> None:
            try:
                set_namespace(self.path)
                result.append(do())
            except BaseException as error:  # noqa: BLE001 - raised by the caller
                failure.append(error)

        thread = threading.Thread(target=enter, name=f"inside {self.name}")
        thread.start()
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    @property
    def cookie(self) -> int:
        """The kernel's number of this namespace."""

        def ask() -> int:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                answer = udp.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
            return int.from_bytes(answer, "little")

        return self.inside(ask)

    def open_sysctl(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Open a dotted sysctl inside; the descriptor works from outside."""
        path = "/proc/sys/" + name.replace(".", "/")
        return self.inside(lambda: os.open(path, flags | os.O_CLOEXEC))

    def sysctl(self, name: str) -> str:
        """Read a sysctl's value, fields separated by one space."""
        descriptor = self.open_sysctl(name)
        try:
            return " ".join(os.read(descriptor, 4096).decode().split())
        finally:
            os.close(descriptor)

    def set_sysctl(self, name: str, value: str) -> None:
        """Write a sysctl; LabError with the kernel's reason if refused."""
        try:
            descriptor = self.open_sysctl(name, os.O_WRONLY)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LabError(
                f"{name} = {value} in {self.name}: {error.strerror}"
            ) from error

    def set_congestion_control(self, algorithm: str) -> None:
        """Make *algorithm* the default of new sockets inside."""
        from bpftune.lab.congestion import set_default  # noqa: PLC0415 - a cycle

        set_default(self, algorithm)
