"""The destinations of one network namespace, and when they are looked at.

strangers with much traffic --> what does the kernel offer? --> in the table
flows begin to be summed up --> look each second or five --> nothing: wait
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bpftune.model import Drop, Netns, Prefix, Put, ReadText, Request, Take, Tell, Wake
from bpftune.policy.parents import Votes, above, prior
from bpftune.policy.reward import SizeClass
from bpftune.tuners.congestion.destination import (
    Destination,
    decide,
    explained,
    heed_buffers,
    judge_transfer,
    left,
    meet,
    offered_anew,
    resumed,
    see,
)
from bpftune.tuners.congestion.maps import (
    ASSIGNMENTS,
    BROKEN,
    SUMS,
    Assignment,
    BrokenKey,
    PathKey,
    padded,
    text,
)
from bpftune.tuners.congestion.offer import LOOK, NAMES, Offer, read
from bpftune.tuners.congestion.room import (
    MOST,
    MOST_OF_ONE_PARENT,
    dispensable,
    has_room,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bpftune.model import Facts
    from bpftune.policy.blocks import Pace
    from bpftune.tuners.congestion.maps import (
        ArmFailed,
        FlowSums,
        SumsKey,
        TransferSent,
    )

    Rows = Iterable[tuple[SumsKey, FlowSums]]

LOOK_S = 5.0
CLOSE_LOOK_S = 1.0
"""While another arm than the default is in force anywhere: harm is to be seen soon."""

IDLE_LOOK_S = 10.0

MOST_PARENTS = 256
MOST_AT_ONCE = 64
ENOUGH_FLOWS = 5
"""Of 100 kB and more, without any that is large: then the initial window matters."""


class Places:
    """What is known of one network namespace. *netns* names it."""

    def __init__(self, netns: Netns) -> None:
        """Know nothing."""
        self.netns = netns
        self.known: dict[Prefix, Destination] = {}
        self.refused = 0
        """How often there was no room for a destination."""
        self._offer: Offer | None = None
        self._failed: dict[str, int] = {}  # arms, with the errno
        self._votes: dict[Prefix, Votes] = {}
        self._in_table: dict[Prefix, Assignment] = {}
        self._newcomers: dict[Prefix, Destination | None] = {}
        self._looking = self._fresh = False

    # --- who is looked after ------------------------------------------------------

    def strangers(self, rows: Rows) -> list[Request]:
        """Take in traffic to destinations without an assignment."""
        of: dict[Prefix, list[FlowSums]] = defaultdict(list)
        large: set[Prefix] = set()
        for key, row in rows:
            of[key.prefix].append(row)
            if key.size_class == SizeClass.LARGE:
                large.add(key.prefix)
        worth = [
            prefix
            for prefix, sums in of.items()
            if prefix not in self.known
            and (prefix in large or sum(one.flows for one in sums) >= ENOUGH_FLOWS)
        ]
        worth.sort(key=lambda one: -sum(sums.bytes_acked for sums in of[one]))
        # The others will be strangers again, if they have more to send.
        return self.await_offer(dict.fromkeys(worth[:MOST_AT_ONCE]))

    def await_offer(
        self, newcomers: Mapping[Prefix, Destination | None]
    ) -> list[Request]:
        """Look after *newcomers* once it is known what the kernel offers.

        With what is remembered of them, if anything.
        """
        for prefix, remembered in newcomers.items():
            self._newcomers.setdefault(prefix, remembered)
        return [ReadText(NAMES)] if self._newcomers else []

    def offered(self, texts: Mapping[str, str], facts: Facts) -> list[Request]:
        """Take in what the kernel offers now."""
        offered = read(texts)
        newcomers, self._newcomers = self._newcomers, {}
        if offered is None:
            return []
        self._offer = offered
        requests: list[Request] = []
        for arm in [one for one in self._failed if one not in offered.available]:
            # It may come back, and then work.
            del self._failed[arm]
            requests.append(Drop(BROKEN, BrokenKey(self.netns.cookie, padded(arm))))
        requests += self._take_in_offer(facts.now_s)
        for prefix, remembered in newcomers.items():
            requests += self._admit(prefix, remembered, facts.now_s)
        return requests

    def _take_in_offer(self, now_s: float) -> list[Request]:
        requests: list[Request] = []
        if self._offer is None:
            return requests
        for prefix, before in list(self.known.items()):
            after = offered_anew(before, self._offer, self._failed, now_s)
            told = left(before, after, self._failed)
            requests += [told] if told is not None else []
            requests += self._keep(prefix, after, now_s)
        return requests

    def arm_failed(self, event: ArmFailed, facts: Facts) -> list[Request]:
        """Do without an arm that the kernel refused."""
        self._failed[text(event.arm)] = event.error
        return [*self._take_in_offer(facts.now_s), ReadText(NAMES)]

    def _admit(
        self, prefix: Prefix, remembered: Destination | None, now_s: float
    ) -> list[Request]:
        if self._offer is None or prefix in self.known:
            return []
        requests: list[Request] = []
        if not has_room(self.known, prefix):
            idle = dispensable(self.known, prefix, now_s)
            if idle is None:
                return self._refuse(prefix)
            requests += self._let_go(idle)
        if remembered is None:
            newcomer = meet(prefix, self._offer, self._failed, now_s)
        else:
            newcomer = resumed(remembered, now_s)
        newcomer = offered_anew(newcomer, self._offer, self._failed, now_s)
        return [*requests, *self._keep(prefix, newcomer, now_s)]

    def _refuse(self, prefix: Prefix) -> list[Request]:
        """Count who finds no room; say so the first time, and as it doubles."""
        self.refused += 1
        if self.refused & (self.refused - 1):
            return []
        why = (
            f"no room for it: {len(self.known)} destinations are looked after in this "
            f"namespace, at most {MOST}, and {MOST_OF_ONE_PARENT} of one network; "
            f"{self.refused} were refused"
        )
        return [Tell("degraded", prefix, why, {"refused": self.refused})]

    def _let_go(self, prefix: Prefix) -> list[Request]:
        self.known.pop(prefix, None)
        if self._in_table.pop(prefix, None) is None:
            return []
        return [Drop(ASSIGNMENTS, PathKey(self.netns.cookie, prefix))]

    def release(self) -> list[Request]:
        """Leave all destinations to the kernel: the admin decided."""
        requests = [one for prefix in list(self.known) for one in self._let_go(prefix)]
        self._newcomers.clear()
        return requests

    def _keep(self, prefix: Prefix, known: Destination, now_s: float) -> list[Request]:
        """Remember *known*, and write the table if it is to say something else."""
        self.known[prefix] = known
        wanted = known.assignment(now_s)
        if self._in_table.get(prefix) == wanted:
            return []
        self._in_table[prefix] = wanted
        key, changes = PathKey(self.netns.cookie, prefix), wanted.changes
        return [Put(ASSIGNMENTS, key, wanted, changes=changes)]

    # --- what they do -------------------------------------------------------------

    def begun(self) -> list[Request]:
        """Look soon: connections are being summed up."""
        if self._looking:
            return []
        self._looking = self._fresh = True
        return [Wake(LOOK, self._look_s())]

    def _look_s(self) -> float:
        if not self._fresh:
            return IDLE_LOOK_S
        is_off = any(one.is_off for one in self.known.values())
        return CLOSE_LOOK_S if is_off else LOOK_S

    def look(self, facts: Facts, pace: Pace) -> list[Request]:
        """Take what was summed up; stop if there is nothing, and nothing on trial."""
        requests: list[Request] = [Take(SUMS)]
        on_trial = [
            prefix
            for prefix, one in self.known.items()
            if one.on_trial and facts.now_s - one.choice.block.since_s > pace.longest_s
        ]
        for prefix in on_trial:
            requests += self._decide(prefix, facts, pace)
        if self._fresh or any(one.on_trial for one in self.known.values()):
            requests.append(Wake(LOOK, self._look_s()))
        else:
            self._looking = False
        self._fresh = False
        return requests

    def summed_up(self, rows: Rows, facts: Facts, pace: Pace) -> list[Request]:
        """Take in what connections did, and decide on those destinations."""
        of: dict[Prefix, list[tuple[SumsKey, FlowSums]]] = defaultdict(list)
        for key, row in rows:
            if key.prefix in self.known:
                of[key.prefix].append((key, row))
        self._fresh = self._fresh or bool(of)
        requests: list[Request] = []
        before = self._look_s()
        for prefix, theirs in of.items():
            self.known[prefix] = see(self.known[prefix], theirs, facts.now_s)
            requests += self._decide(prefix, facts, pace)
        if of and not self._looking:
            requests += self.begun()
        elif self._look_s() < before:  # another arm is in force now
            requests.append(Wake(LOOK, self._look_s()))
        return requests

    def _decide(self, prefix: Prefix, facts: Facts, pace: Pace) -> list[Request]:
        now_s, levels = facts.now_s, above(prefix)
        known = heed_buffers(
            self.known[prefix], now_s, busy=str(prefix) in facts.trials
        )
        size, names = known.choice.acting, known.choice.arms
        votes = [self._votes.get(level, Votes()) for level in levels]
        known, following, tells = decide(
            known,
            now_s,
            pace,
            may_try=not self._is_trial_beside(known),
            prior=prior(votes, size, names),
        )
        if following is not None and following.ended.gain is not None:
            ended = following.ended
            for level, one in zip(levels, votes, strict=True):
                self._votes.pop(level, None)
                self._votes[level] = one.vote(
                    ended.size, ended.block.arm, following.ended.gain
                )
            while len(self._votes) > MOST_PARENTS:
                del self._votes[next(iter(self._votes))]
        return [*tells, *self._keep(prefix, known, now_s)]

    def _is_trial_beside(self, one: Destination) -> bool:
        return any(
            other.on_trial and other.prefix != one.prefix and one.shares_device(other)
            for other in self.known.values()
        )

    def transferred(self, event: TransferSent, facts: Facts) -> list[Request]:
        """Take in one transfer."""
        known = self.known.get(event.prefix)
        if known is None:
            return []
        known, tells = judge_transfer(known, event, facts.now_s)
        return [*tells, *self._keep(event.prefix, known, facts.now_s)]

    # --- for people ---------------------------------------------------------------

    def explain(self, about: str, now_s: float) -> list[str]:
        """Say what is known of the destination *about*."""
        return [
            line
            for prefix, one in self.known.items()
            if str(prefix) == about
            for line in explained(one, now_s)
        ]
