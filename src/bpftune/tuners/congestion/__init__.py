"""Learn congestion control per destination, and prove it.

The BPF program applies what is in a table to new connections, and adds up how they
fare (``maps``). ``places`` looks after the destinations of a network namespace,
``destination`` decides on one of them, by the policies of ``policy.choice`` and
``policy.window``. ``saved`` is what outlives the daemon. A host that sends little has
no use for these: they are imported when there is something to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.model import (
    Event,
    Facts,
    Netns,
    NetnsCookie,
    NetnsGone,
    ReadText,
    Request,
    Take,
    Taken,
    Tell,
    TextRead,
    Tuner,
    Woken,
    Yielded,
)
from bpftune.policy.blocks import USUAL
from bpftune.text import printable
from bpftune.tuners import beside
from bpftune.tuners.congestion.maps import (
    EVENTS,
    STRANGERS,
    SUMS,
    ArmFailed,
    DefaultChanged,
    SumsBegun,
    TransferSent,
    TransfersSeen,
)
from bpftune.tuners.congestion.offer import DEFAULT, LOOK, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpftune.model import Prefix
    from bpftune.tuners.congestion.destination import Destination
    from bpftune.tuners.congestion.places import Places

MOST_NAMESPACES = 64
"""With destinations that are looked after. A container host has more namespaces, but
few of them send much."""


class Congestion(Tuner):
    """Keeps what is known of each network namespace.

    *pace* is how long blocks are; a laboratory shortens them.
    """

    def __init__(self) -> None:
        """Name the BPF programs and what goes without them."""
        super().__init__(
            name="congestion",
            summary="Learn the congestion control that serves each destination best",
            events=EVENTS,
            bpf_object=beside(__file__, "congestion.bpf.o"),
            losses={
                "apply_arm": "no congestion control is chosen for new connections",
                "see_end": "how connections fare is not learned",
            },
            settings=(DEFAULT,),
            needs=("apply_arm", "see_end"),
        )
        self.pace = USUAL
        self.namespaces: dict[NetnsCookie, Places] = {}
        self._earlier: dict[str, dict[Prefix, Destination]] = {}
        self._told_full = False

    def init(self, facts: Facts) -> Iterable[Request]:
        """Go on with what the host's destinations had; of others as they are met."""
        if DEFAULT in facts.admins or str(facts.netns) not in self._earlier:
            return []
        return self._meet(facts.netns)[1]

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        """Pass *event* to its namespace, unless the admin decides there."""
        cookie = event.netns_cookie
        match event:
            case NetnsGone():
                self.namespaces.pop(cookie, None)
                return []
            case Yielded(tunable=tunable) if tunable.name != DEFAULT:
                return []
        if isinstance(event, Yielded) or DEFAULT in facts.admins:
            places = self.namespaces.pop(cookie, None)
            return places.release() if places is not None else []
        match event:
            case TransfersSeen():
                return [Take(STRANGERS)]
            case Taken(table=table) if table == STRANGERS:
                return self._strangers(event, facts.netns)
        return self._known(event, facts)

    def _strangers(self, taken: Taken, netns: Netns) -> list[Request]:
        """Look after the namespace as well, if there is room; else say so once."""
        is_new = netns.cookie not in self.namespaces
        if not is_new or len(self.namespaces) < MOST_NAMESPACES:
            places, requests = self._meet(netns)
            return [*requests, *places.strangers(taken.rows)]
        if self._told_full:
            return []
        self._told_full = True
        why = (
            f"no room for this network namespace: {MOST_NAMESPACES} are looked after; "
            "it is the first of those that are not"
        )
        facts = {"namespaces": MOST_NAMESPACES}
        return [Tell("degraded", taken.rows[0][0].prefix, why, facts)]

    def _meet(self, netns: Netns) -> tuple[Places, list[Request]]:
        """Return what is known of *netns*, with what was saved of it."""
        from bpftune.tuners.congestion.places import Places  # noqa: PLC0415 - see above

        places = self.namespaces.get(netns.cookie)
        if places is not None:
            return places, []
        self.namespaces[netns.cookie] = places = Places(netns)
        earlier = self._earlier.pop(netns.name, {}) if netns.name else {}
        return places, places.await_offer(earlier)

    def _known(self, event: Event, facts: Facts) -> list[Request]:
        places = self.namespaces.get(event.netns_cookie)
        if places is None:
            return []
        requests: list[Request] = []
        match event:
            case TextRead(texts=texts):
                requests = places.offered(texts, facts)
            case SumsBegun():
                requests = places.begun()
            case Woken(name=name) if name == LOOK:
                requests = places.look(facts, self.pace)
            case Taken(table=table, rows=rows) if table == SUMS:
                requests = places.summed_up(rows, facts, self.pace)
            case TransferSent():
                requests = places.transferred(event, facts)
            case ArmFailed():
                requests = places.arm_failed(event, facts)
            case DefaultChanged():
                requests = [ReadText(NAMES)]
        return requests

    def explain(self, about: str, now_s: float) -> Iterable[str]:
        """Say what is known of the destination *about*, in each namespace."""
        return [
            f"{printable(str(places.netns))}: {line}"
            for places in self.namespaces.values()
            for line in places.explain(about, now_s)
        ]

    def save(self, now_s: float, now_unix_s: float) -> object:
        """Return what is known of the host's and of named namespaces."""
        if not self.namespaces and not self._earlier:
            return None
        from bpftune.tuners.congestion import saved  # noqa: PLC0415 - see above

        known = dict(self._earlier)
        known |= {
            places.netns.name: places.known
            for places in self.namespaces.values()
            if places.netns.name
        }
        return saved.as_json(known, now_s, now_unix_s)

    def restore(self, saved_: object, now_s: float, now_unix_s: float) -> None:
        """Take in what an earlier run saved; it is used as traffic is seen again."""
        from bpftune.tuners.congestion import saved  # noqa: PLC0415 - see above

        self._earlier = saved.parsed(saved_, now_s, now_unix_s)


tuner = Congestion()
