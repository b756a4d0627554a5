"""The admin, who sets what they like, in the wards."""

from __future__ import annotations

import errno
import random
from pathlib import Path

from tests.soak.measure import PATIENCE_S, asked
from tests.soak.world import NAMES, RMEM, WORD, World
from tests.system.daemon import WMEM, Told, name_in

from bpftune.lab.namespaces import Namespace

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

    def sets(self, chance: random.Random) -> None:
        """Set a sysctl to another value."""
        name = chance.choice(NAMES[:-1])
        self._choose(chance.choice(self._world.wards), name, another(name, chance))

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
        now = ward.sysctl(WORD)
        others = [one for one in ALLOWED.read_text().split() if one != now]
        if others:
            self._choose(ward, WORD, chance.choice(others))

    def _choose(self, ward: Namespace, name: str, value: str) -> None:
        """Set a sysctl, and have the daemon say whose it is by now."""
        world = self._world
        known = world.wanted.is_held(ward.name, name)
        daemon = world.daemon
        after = len(daemon.records) if daemon else 0
        write(ward, name, value)
        world.wanted.admin_set(ward.name, name, value)
        if daemon is None or known:
            return

        def says(record: Told) -> bool:
            about = record["record"], record["tunable"], name_in(record)
            return about == ("yielded", name, ward.name)

        try:
            daemon.wait_for(says, PATIENCE_S, after)
        except AssertionError:
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
