"""The world that the daemon lives in, and what happens in it."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.soak.balance import Sent
from tests.soak.bout import Bout
from tests.soak.counted import EVENTS_PER_READ, SOURCE, WARD
from tests.soak.measure import asked
from tests.soak.network import Server
from tests.soak.schedule import Act, Kind
from tests.soak.wanted import Place, Wanted
from tests.system import churn
from tests.system.daemon import WMEM, Daemon, Told, name_in
from tests.system.talk import call, connect

from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab

WARDS = 3
AT_ONCE = 5
CONNECTIONS = 10
STALLED_READS = 400
NOTICED_S = 20.0
WORD = "net.ipv4.tcp_congestion_control"
RMEM = "net.ipv4.tcp_rmem"
NAMES = (WMEM, RMEM, "net.core.somaxconn", "net.ipv4.ip_local_port_range", WORD)
UNTOUCHED = (WMEM, RMEM)
"""What nothing in a ward makes the daemon change: there is no traffic."""

ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("Status", {}),
    ("Tunables", {}),
    ("History", {"limit": 50}),
    ("Explain", {"about": WMEM}),
    ("Explain", {"about": "10.78.1.0/24"}),
    ("Advise", {}),
    ("Verify", {}),
    ("Rollback", {"all": True, "dry_run": True}),
)
NONSENSE = (b"", b"\xff" * 100 + b"\0", b'{"method": "io.bpf', b"[" * 5000 + b"\0")
MOST_RUDE = 4


class World:
    """Namespaces, the traffic in them, the admin and clients; use it with ``with``."""

    def __init__(self, run_dir: Path, fail: Callable[[str], None]) -> None:
        """Begin with nothing; what is wrong goes to *fail*."""
        self.run_dir = run_dir
        self.fail = fail
        self.daemon: Daemon | None = None
        self.wanted = Wanted()
        self.sent = Sent()
        self.done: Counter[str] = Counter()
        self.wards: list[Namespace] = []
        self.bout: Bout | None = None
        self._paused: Namespace | None = None
        self._rude: list[socket.socket] = []
        self._churned = 0
        self._stack = ExitStack()

    def __enter__(self) -> World:
        with ExitStack() as stack:
            self.server = stack.enter_context(Server(stack.enter_context(Lab())))
            stack.callback(self.clear)
            for _ in range(WARDS):
                self._take_in()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """End all namespaces but those of the server."""
        self.end_bout()
        for ward in list(self.wards):
            self._end(ward)
        self.hang_up()

    # --- namespaces --------------------------------------------------------------

    def namespaces(self) -> list[Namespace]:
        """Return those in which values are looked at."""
        return [*self.wards, *(self.bout.namespaces if self.bout else ())]

    def values(self) -> dict[Place, str]:
        """Return the values in force."""
        return {
            (netns.name, name): netns.sysctl(name)
            for netns in self.namespaces()
            for name in NAMES
        }

    def living(self) -> int:
        """Return how many namespaces there are, with those of the server."""
        return len(self.namespaces()) + 2

    def _take_in(self) -> None:
        ward = Namespace(WARD)
        self.wards.append(ward)
        ward.make()
        self._note(ward)

    def _note(self, netns: Namespace) -> None:
        self.wanted.found(netns.name, {name: netns.sysctl(name) for name in NAMES})

    def _end(self, netns: Namespace) -> None:
        self.wanted.ended(netns.name)
        if netns in self.wards:
            self.wards.remove(netns)
        if netns is self._paused:
            self._paused = None
        netns.close()

    def renew_all(self) -> None:
        """Let all wards end, and new ones take their places."""
        for ward in list(self.wards):
            self._end(ward)
            self._take_in()

    def end_bout(self) -> None:
        """End the bout, if there is one."""
        if self.bout is not None:
            bout, self.bout = self.bout, None
            for netns in bout.namespaces:
                self.wanted.ended(netns.name)
            bout.close()

    # --- what happens ------------------------------------------------------------

    def do(self, act: Act) -> None:
        """Let *act* happen; without a daemon, as far as that makes sense."""
        chance = random.Random(act.number)
        alive = self.daemon is not None
        match act.kind:
            case Kind.CONNECT:
                self.server.connect(CONNECTIONS, act.number)
            case Kind.CHURN:
                self.churn()
            case Kind.POKE if alive:
                for ward in self.wards:
                    self.pour(ward, chance.randint(1, 2))
            case Kind.STALL if alive:
                self.stall()
            case Kind.BOUT if self.bout is None:
                self.begin_bout(act.number)
            case Kind.RENEW:
                self._end(self.wards[0])
                self._take_in()
            case Kind.SET | Kind.SET_SAME | Kind.SET_BAD | Kind.SET_WORD:
                self.interfere(act.kind, chance)
            case Kind.ADOPT if alive:
                self.adopt(chance)
            case Kind.PAUSE if alive:
                self.pause(chance)
            case Kind.ASK if alive:
                self.ask(chance)
            case Kind.RUDE if alive:
                self.be_rude(chance)
            case _:
                return
        self.done[act.kind] += 1

    def pour(self, netns: Namespace, reads: int) -> None:
        """Cause events in *netns*, if there is a daemon."""
        self._read(netns.inside, reads)
        self.sent += Sent(living=reads * EVENTS_PER_READ)

    @staticmethod
    def _read(inside: Callable[[Callable[[], None]], None], reads: int) -> None:
        def read() -> None:
            with open("/proc/sys/" + SOURCE.replace(".", "/"), "rb", 0) as file:  # noqa: PTH123
                for _ in range(reads):
                    os.pread(file.fileno(), 64, 0)

        inside(read)

    def stall(self) -> None:
        """Cause more events than there is room for, while the daemon is stopped."""
        assert self.daemon is not None
        self.daemon.send(signal.SIGSTOP)
        try:
            self.pour(self.server.near, STALLED_READS)
        finally:
            self.daemon.send(signal.SIGCONT)

    def churn(self) -> None:
        """Let namespaces come, be met, cause events and go."""
        names = range(self._churned, self._churned + AT_ONCE)
        self._churned += AT_ONCE
        try:
            churn.make(names)
            churn.set_in(names[:-1], churn.SYSCTL.read_text())
            churn.set_in(names[-1:], f"4096 16384 {100_000 + names[0]}")
            if self.daemon is not None:
                last = Namespace("churn")
                last.path = churn.churned(names[-1])
                self._read(last.inside, 1)
                self.sent += Sent(dying=EVENTS_PER_READ)
        finally:
            churn.unmake(names)

    def begin_bout(self, seed: int) -> None:
        """Begin a bout; it is ended when its time is over."""
        self.bout = Bout(seed)
        for netns in self.bout.namespaces:
            self._note(netns)
        # It was set after the namespace could be met.
        self.wanted.admin_set(
            self.bout.sender.name, WMEM, self.bout.sender.sysctl(WMEM)
        )

    # --- the admin ---------------------------------------------------------------

    def interfere(self, kind: Kind, chance: random.Random) -> None:
        """Write a sysctl in a ward."""
        ward = chance.choice(self.wards)
        match kind:
            case Kind.SET_SAME:
                name = chance.choice(UNTOUCHED)
                self.write(ward, name, ward.sysctl(name))
            case Kind.SET_BAD:
                try:
                    self.write(ward, chance.choice(NAMES), "ban ana")
                except OSError as error:
                    if error.errno not in {errno.EINVAL, errno.ENOENT}:
                        raise
            case Kind.SET_WORD:
                now = ward.sysctl(WORD)
                allowed = [one for one in ALLOWED.read_text().split() if one != now]
                if allowed:
                    self.choose(ward, WORD, chance.choice(allowed))
            case _:
                name = chance.choice(NAMES[:-1])
                self.choose(ward, name, another(name, chance))

    @staticmethod
    def write(netns: Namespace, name: str, value: str) -> None:
        """Write a sysctl inside the namespace."""
        path = Path("/proc/sys/" + name.replace(".", "/"))
        netns.inside(lambda: path.write_text(value))

    def choose(self, ward: Namespace, name: str, value: str) -> None:
        """Set a sysctl, and have the daemon say whose it is by now."""
        known = self.wanted.is_held(ward.name, name)
        daemon = self.daemon
        after = len(daemon.records) if daemon else 0
        self.write(ward, name, value)
        self.wanted.admin_set(ward.name, name, value)
        if daemon is None or known:
            return

        def says(record: Told) -> bool:
            about = record["record"], record["tunable"], name_in(record)
            return about == ("yielded", name, ward.name)

        try:
            daemon.wait_for(says, NOTICED_S, after)
        except AssertionError:
            self.fail(f"{name} was set in {ward.name}, and the daemon says nothing")

    def adopt(self, chance: random.Random) -> None:
        """Give back something that is the admin's."""
        names = {ward.name for ward in self.wards}
        held = sorted(place for place in self.wanted.held() if place[0] in names)
        if not held:
            return
        netns, name = chance.choice(held)
        adopted = asked(self.run_dir, "Adopt", tunable=name, netns=netns)["tunables"]
        if len(adopted) != 1:
            self.fail(f"{name} in {netns} cannot be adopted: {adopted}")
        self.wanted.given_back(netns, name)

    def pause(self, chance: random.Random) -> None:
        """Pause a ward, or resume the one that is paused."""
        if self._paused is None:
            self._paused = chance.choice(self.wards)
            asked(self.run_dir, "Pause", what=self._paused.name)
        else:
            paused, self._paused = self._paused, None
            asked(self.run_dir, "Resume", what=paused.name)

    def began_anew(self) -> None:
        """Note that another daemon runs: nothing is paused or sent yet."""
        self._paused = None
        self.sent = Sent()

    # --- clients -----------------------------------------------------------------

    def ask(self, chance: random.Random) -> None:
        """Ask something that everybody may ask."""
        method, parameters = chance.choice(QUESTIONS)
        reply = call(self.run_dir / "control", method, **parameters)
        if reply.get("error", "io.bpftune.NoSuch") != "io.bpftune.NoSuch":
            self.fail(f"{method} {parameters}: {reply}")

    def be_rude(self, chance: random.Random) -> None:
        """Connect, say nonsense or nothing, and stay for a while."""
        connection = connect(self.run_dir / "control")
        self._rude.append(connection)
        connection.sendall(chance.choice(NONSENSE))
        if len(self._rude) > MOST_RUDE:
            self._rude.pop(0).close()

    def hang_up(self) -> None:
        """End what clients left open."""
        while self._rude:
            self._rude.pop().close()


def another(name: str, chance: random.Random) -> str:
    """Return a value for *name* that nobody had before, most likely."""
    match name:
        case "net.core.somaxconn":
            return str(chance.randint(5000, 60_000))
        case "net.ipv4.ip_local_port_range":
            return f"{chance.randint(10_000, 20_000)} {chance.randint(40_000, 60_000)}"
        case _:
            return (
                f"4096 {chance.randint(10_000, 99_999)} {chance.randint(10**5, 10**7)}"
            )
