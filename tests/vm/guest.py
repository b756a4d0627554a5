"""A machine emulated by QEMU, with one of Debian's kernels and this machine's root.

The root is this machine's own, read-only, under a layer in memory: whatever is
installed here is there, and nothing that is done there is seen here, but for what is
written into ``/run/vm``. It is plain emulation, which works everywhere and is slow,
but the machine itself does not know: its time goes slower as well.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.vm import initramfs
from tests.vm.errors import CannotTryError, GuestBrokeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.vm.kernels import Kernel

HERE = Path(__file__).parent
MEMORY_MIB = 2048
SOCKET_S = 10.0
STOP_S = 5.0
TIMED_OUT = 124
"""Exit status of a command that took too long, as timeout(1) has it."""

_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_VIRTIOFSD = (
    "/usr/lib/qemu/virtiofsd",  # Debian 12: part of qemu-system-common
    "/usr/libexec/virtiofsd",
)

# Two processors of one guest raced in the kernel's code patching: QEMU 7.2 does not
# stop the others as hardware does. It also gets 5-level tables wrong. cmpxchg16b is
# right on one processor; without it Linux since 6.19 cannot mark sockets.
_MACHINE = (
    *("-accel", "tcg,thread=single,tb-size=512"),
    # Time goes by instructions, one each nanosecond, and by the clock while the machine
    # has nothing to do. So deadlines and rates are those of a machine of that speed,
    # however little of a processor it gets here; whoever waits for it waits longer.
    *("-icount", "shift=0"),
    *("-cpu", "max,la57=off"),
    *("-smp", "1"),
    *("-m", f"{MEMORY_MIB}M"),
    *("-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on"),
    *("-machine", "q35,memory-backend=memory,graphics=off"),
    *("-nodefaults", "-no-user-config", "-no-reboot"),
    *("-display", "none"),
    *("-device", "virtio-rng-pci"),
)
_COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable "
    "random.trust_cpu=on rcupdate.rcu_expedited=1 audit=0"
)


class Ended(NamedTuple):
    """How a command ended: exit status, seconds to boot, in all, and of processor."""

    status: int
    boot_s: float
    took_s: float
    cpu_s: float


class Machines:
    """The processes that run; ``stop`` ends them all, and no more begin."""

    def __init__(self) -> None:
        """Begin with none."""
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    @contextmanager
    def start(self, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """Start one, to be heard at its standard output, until the block ends."""
        with self._lock:
            if self.stopped:
                raise CannotTryError("stopped")
            process = subprocess.Popen(
                [*_DIE_WITH_US, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._processes.add(process)
        try:
            yield process
        finally:
            _end(process)
            with self._lock:
                self._processes.remove(process)
            if process.stdout:
                process.stdout.close()

    def stop(self) -> None:
        """End those that run."""
        self.stopped = True
        for process in list(self._processes):
            process.kill()


@dataclass(frozen=True)
class Guest:
    """A kernel and what to run under it: as root, in *directory*.

    What is written into ``/run/vm`` there is in *out* here.
    """

    kernel: Kernel
    command: Sequence[str]
    directory: Path
    out: Path
    environment: Mapping[str, str]
    machines: Machines

    def script(self) -> str:
        """Return what the guest runs when its root is there."""
        exports = (
            f"export {name}={shlex.quote(text)}"
            for name, text in self.environment.items()
        )
        filled = {
            "{modules}": shlex.quote(str(self.kernel.modules.resolve())),
            "{directory}": shlex.quote(str(self.directory)),
            "{environment}": "\n".join(exports),
            "{command}": shlex.join(self.command),
        }
        text = (HERE / "guest.sh").read_text()
        for mark, value in filled.items():
            text = text.replace(mark, value)
        return text

    def run(self, hear: Callable[[str], None], deadline_s: float) -> Ended:
        """Boot, run the command and give each line of its output to *hear*.

        Raises GuestBrokeError if the machine does not come up or vanishes,
        CannotTryError if there is nothing to boot it with.
        """
        status, up = self.out / "status", self.out / "up"
        for left in (status, up):
            left.unlink(missing_ok=True)
        (self.out / "guest.sh").write_text(self.script())
        began_s = time.monotonic()
        with ExitStack() as stack:
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="bpftune-vm"))
            work = Path(name)
            (work / "initramfs").write_bytes(
                initramfs.build(
                    self.kernel.modules / self.kernel.release,
                    _find("busybox", "busybox-static"),
                    (HERE / "init.sh").read_text(),
                )
            )
            shared = {"root": (Path("/"), "always"), "out": (self.out, "none")}
            for tag, (directory, cache) in shared.items():
                stack.enter_context(_share(work, tag, directory, cache))
            words = self._machine(work, shared)
            machine = stack.enter_context(self.machines.start(words))
            in_time, cpu_s = _listen(machine, hear, began_s + deadline_s)
            console = (work / "console").read_text(errors="replace")
        took_s = time.monotonic() - began_s
        boot_s = float(up.read_text().split()[1]) if up.exists() else 0.0
        if not in_time and boot_s:
            return Ended(TIMED_OUT, boot_s, took_s, cpu_s)
        if not status.exists():
            end = "\n".join(console.splitlines()[-20:])
            raise GuestBrokeError(
                f"Linux {self.kernel.release} ended without an answer after "
                f"{took_s:.0f} s; its console:\n{end}"
            )
        return Ended(int(status.read_text()), boot_s, took_s, cpu_s)

    def _machine(self, work: Path, shared: Mapping[str, object]) -> list[str]:
        words = [str(_find("qemu-system-x86_64", "qemu-system-x86")), *_MACHINE]
        words += ["-kernel", str(self.kernel.image)]
        words += ["-initrd", str(work / "initramfs"), "-append", _COMMAND_LINE]
        words += ["-serial", f"file:{work}/console"]
        words += ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=io"]
        words += ["-chardev", "stdio,id=io,signal=off"]
        for tag in shared:
            words += ["-chardev", f"socket,id={tag},path={work}/{tag}"]
            words += ["-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
        return words


def _find(command: str, package: str) -> Path:
    path = shutil.which(command)
    if path is None:
        raise CannotTryError(f"there is no {command}", f"apt-get install {package}")
    return Path(path)


@contextmanager
def _share(work: Path, tag: str, directory: Path, cache: str) -> Iterator[None]:
    """Serve *directory* to the guest as *tag*."""
    path = work / tag
    found = next(filter(Path.exists, map(Path, _VIRTIOFSD)), None)
    words = [str(found or _find("virtiofsd", "virtiofsd")), f"--socket-path={path}"]
    if found == Path(_VIRTIOFSD[0]):
        options = f"source={directory},cache={cache},sandbox=chroot,log_level=err"
        words += ["-f", "--rlimit-nofile=0", "-o", options]
    else:
        words += [f"--shared-dir={directory}", "--sandbox=chroot"]
        words += [f"--cache={'never' if cache == 'none' else cache}"]
    with (work / f"{tag}.log").open("w") as log:
        server = subprocess.Popen(
            [*_DIE_WITH_US, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        end_s = time.monotonic() + SOCKET_S
        while not path.exists():
            if server.poll() is not None or time.monotonic() > end_s:
                why = (work / f"{tag}.log").read_text().strip()
                raise CannotTryError(f"virtiofsd does not start: {why}")
            with suppress(subprocess.TimeoutExpired):
                server.wait(0.01)
        yield
    finally:
        _end(server)


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listen(
    machine: subprocess.Popen[str], hear: Callable[[str], None], end_s: float
) -> tuple[bool, float]:
    """Pass on what *machine* says until it ends.

    Return whether it did in time, and the seconds of processor that it had.
    """
    late = threading.Event()

    def stop() -> None:
        late.set()
        machine.kill()

    timer = threading.Timer(max(0.0, end_s - time.monotonic()), stop)
    timer.start()
    try:
        for line in machine.stdout or ():
            hear(line.rstrip("\r\n"))
        _, status, used = os.wait4(machine.pid, 0)
        machine.returncode = os.waitstatus_to_exitcode(status)
    finally:
        timer.cancel()
    return not late.is_set(), used.ru_utime + used.ru_stime
