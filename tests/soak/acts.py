"""Who does what: from the kind of an act to the one who does it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from tests.soak.admin import Admin
from tests.soak.clients import Clients
from tests.soak.schedule import Act, Kind
from tests.soak.world import World

Does = Callable[[random.Random], None]

CONNECTIONS = 10
NEEDS_DAEMON = frozenset(
    {Kind.POKE, Kind.STALL, Kind.ADOPT, Kind.PAUSE, Kind.ASK, Kind.RUDE}
)


class Acts:
    """Has acts done, and counts them."""

    def __init__(self, world: World) -> None:
        """Let them happen in *world*."""
        self.done: Counter[str] = Counter()
        self.admin = Admin(world)
        self.clients = Clients(world.run_dir, world.fail)
        self._world = world
        self._does: dict[Kind, Does] = {
            Kind.CONNECT: lambda c: world.server.connect(
                CONNECTIONS, c.getrandbits(32)
            ),
            Kind.CHURN: lambda _: world.churn(),
            Kind.POKE: lambda c: world.poke(c.randint(1, 2)),
            Kind.STALL: lambda _: world.stall(),
            Kind.BOUT: lambda c: world.begin_bout(c.getrandbits(32)),
            Kind.RENEW: lambda _: world.renew(),
            Kind.SET: self.admin.sets,
            Kind.SET_SAME: self.admin.sets_the_same,
            Kind.SET_BAD: self.admin.sets_nonsense,
            Kind.SET_WORD: self.admin.sets_a_word,
            Kind.ADOPT: self.admin.adopts,
            Kind.PAUSE: self.admin.pauses,
            Kind.ASK: self.clients.ask,
            Kind.RUDE: self.clients.be_rude,
        }

    def do(self, act: Act) -> None:
        """Let *act* happen; what needs a daemon does not if there is none."""
        if self._world.daemon is None and act.kind in NEEDS_DAEMON:
            return
        self._does[act.kind](random.Random(act.number))
        self.done[act.kind] += 1
