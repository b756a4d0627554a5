"""The admin, who sets what they like, in the wards."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.soak.measure import asked
from tests.soak.world import NAMES, RMEM, WORD, World
from tests.system.daemon import WMEM, Told, name_in

from bpftune.lab.namespaces import Namespace

TRIES, NOTICED_S = 4, 15.0
UNTOUCHED = (WMEM, RMEM)
"""What nothing in a ward makes the daemon change: there is no traffic."""

ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
NONSENSE = "ban ana"


class Admin:
    """Sets, gives back, pauses and resumes."""

    def __init__(self, world: World) -> None:
        """Be the admin of *world*."""
        self._world = world
        self._paused = ""
        self.overlooked = 0
        """Writes that the daemon noticed only when there was another."""

    def sets(self, chance: random.Random) -> None:
        """Set a sysctl to another value."""
        ward, name = chance.choice(self._world.wards), chance.choice(NAMES[:-1])
        self._choose(ward, name, lambda: another(name, chance))

    def sets_the_same(self, chance: random.Random) -> None:
        """Write what is there already."""
        ward, name = chance.choice(self._world.wards), chance.choice(UNTOUCHED)
        write(ward, name, ward.sysctl(name))

    def sets_nonsense(self, chance: random.Random) -> None:
        """Write what the kernel refuses."""
        try:
            write(chance.choice(self._world.wards), chance.choice(NAMES), NONSENSE)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOENT}:
                raise

    def sets_a_word(self, chance: random.Random) -> None:
        """Choose another congestion control, if there is one."""
        ward = chance.choice(self._world.wards)
        allowed = ALLOWED.read_text().split()

        def other() -> str:
            now = ward.sysctl(WORD)
            return chance.choice([one for one in allowed if one != now])

        if len(allowed) > 1:
            self._choose(ward, WORD, other)

    def _choose(self, ward: Namespace, name: str, new: Callable[[], str]) -> None:
        """Set a sysctl, and have the daemon say whose it is by now."""
        world, daemon = self._world, self._world.daemon
        waits = daemon is not None and not world.wanted.is_held(ward.name, name)
        after = len(daemon.records) if daemon else 0

        def says(record: Told) -> bool:
            about = record["record"], record["tunable"], name_in(record)
            return about == ("yielded", name, ward.name)

        for again in range(TRIES):
            # The daemon looks for namespaces that it does not know a few times a
            # second only; in a flood of them it may find one at a later write.
            self.overlooked += bool(again)
            value = new()
            write(ward, name, value)
            world.wanted.admin_set(ward.name, name, value)
            if daemon is None or not waits:
                return
            with suppress(AssertionError):
                daemon.wait_for(says, NOTICED_S, after)
                return
        world.fail(f"{name} was set in {ward.name}, and the daemon says nothing")

    def adopts(self, chance: random.Random) -> None:
        """Have the daemon look after something again."""
        world = self._world
        names = {ward.name for ward in world.wards}
        held = sorted(place for place in world.wanted.held() if place[0] in names)
        if not held:
            return
        netns, name = chance.choice(held)
        adopted = asked(world.run_dir, "Adopt", tunable=name, netns=netns)["tunables"]
        if len(adopted) != 1:
            world.fail(f"{name} in {netns} cannot be adopted: {adopted}")
        world.wanted.given_back(netns, name)

    def pauses(self, chance: random.Random) -> None:
        """Pause a ward, or resume the one that is paused."""
        names = [ward.name for ward in self._world.wards]
        if self._paused in names:
            asked(self._world.run_dir, "Resume", what=self._paused)
            self._paused = ""
        else:
            self._paused = chance.choice(names)
            asked(self._world.run_dir, "Pause", what=self._paused)

    def begins_anew(self) -> None:
        """Another daemon runs: nothing is paused."""
        self._paused = ""


def write(netns: Namespace, name: str, value: str) -> None:
    """Write a sysctl inside the namespace. Raises OSError if it is refused."""
    path = Path("/proc/sys/" + name.replace(".", "/"))
    netns.inside(lambda: path.write_text(value))


def another(name: str, chance: random.Random) -> str:
    """Return a value for *name* that nobody had before, most likely."""
    match name:
        case "net.core.somaxconn":
            return str(chance.randint(5000, 60_000))
        case "net.ipv4.ip_local_port_range":
            return f"{chance.randint(10_000, 20_000)} {chance.randint(40_000, 60_000)}"
        case _:
            start, most = chance.randint(10_000, 99_999), chance.randint(10**5, 10**7)
            return f"4096 {start} {most}"
