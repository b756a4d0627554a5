"""Have each request done by whom it concerns, and learn from the trials that end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bpftune.model import Advise, Change, Keep, Nudge, Yield

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpftune.arrange import Arranger
    from bpftune.carry import Carrier
    from bpftune.learned import Learned
    from bpftune.ledger import Ledger
    from bpftune.model import (
        Event,
        Facts,
        Netns,
        NetnsCookie,
        Request,
        Tunable,
        Tuner,
    )


class Performer:
    """The carrier does what changes a tunable, the arranger the rest."""

    def __init__(
        self,
        ledger: Ledger,
        learned: Learned,
        carrier: Carrier,
        arranger: Arranger,
        hand_over: Callable[[Yield, NetnsCookie], None],
    ) -> None:
        """Perform by *carrier* and *arranger*; *hand_over* gives to the admin."""
        self._ledger = ledger
        self._learned = learned
        self._carrier = carrier
        self._arranger = arranger
        self._hand_over = hand_over

    def do(
        self, tuner: Tuner, cookie: NetnsCookie, request: Request, facts: Facts
    ) -> Iterable[Event]:
        """Do what *tuner* asks for; return what it is to hear at once.

        Raises KernelError, and ValueError for what nobody may ask.
        """
        match request:
            case Change():
                answer = self._carrier.change(request, facts)
                if answer is not None:
                    return [answer]
                self._learn(request, facts.netns)
            case Keep():
                on_trial = self._is_on_trial(cookie, request.tunable)
                self._carrier.keep(request, cookie)
                if on_trial:
                    self._learn(request, facts.netns)
            case Advise():
                self._carrier.teller.advise(tuner.name, request, facts.netns)
            case Yield():
                self._hand_over(request, cookie)
            case Nudge() if not self._is_on_trial(cookie, request.tunable):
                pass  # what was refused needs no notice
            case _:
                return self._arranger.do(tuner, cookie, request, facts.now_s)
        return ()

    def _is_on_trial(self, cookie: NetnsCookie, tunable: Tunable) -> bool:
        entry = self._ledger.get(cookie, tunable)
        return entry is not None and entry.trial is not None

    def _learn(self, request: Change | Keep, netns: Netns) -> None:
        """Take in what a trial came to, if it ended."""
        if request.tried is not None:
            tunable = request.tunable.name
            self._learned.take_in(netns, tunable, request.tried, time.time())
