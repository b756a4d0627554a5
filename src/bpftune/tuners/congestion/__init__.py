"""Learn congestion control per destination, and prove it.

What the BPF program reads, adds up and tells is in ``maps``. Decisions are not
wired to it yet, so the tuner is not among ``bpftune.tuners.BUILT_IN``.
"""

from __future__ import annotations

from bpftune.model import Tuner
from bpftune.tuners import beside
from bpftune.tuners.congestion.maps import EVENTS

tuner = Tuner(
    name="congestion",
    summary="Learn the congestion control that serves each destination best",
    events=EVENTS,
    bpf_object=beside(__file__, "congestion.bpf.o"),
    losses={
        "apply_arm": "no congestion control is chosen for new connections",
        "see_end": "how connections fare is not learned",
    },
)
