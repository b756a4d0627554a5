"""The narrow waist: everything that passes between the kernel and a decision.

Mechanism (``bpftune.kernel``) produces events and facts and carries out
requests. Tuners and policies turn an event and facts into requests. Nothing
here does any I/O.

    BPF program --Event--> Tuner.event_handler(event, facts) --Request--> daemon
"""

from __future__ import annotations

from bpftune.model.events import (
    Event,
    NetnsGone,
    Rejected,
    Sampled,
    Taken,
    TextRead,
    ValueChanged,
    Woken,
    Yielded,
)
from bpftune.model.facts import (
    Facts,
    Memory,
)
from bpftune.model.requests import (
    Advise,
    Change,
    Drop,
    Keep,
    Nudge,
    Put,
    ReadText,
    Recheck,
    Request,
    Survey,
    Take,
    Tell,
    Wake,
    Watch,
    Yield,
)
from bpftune.model.things import (
    Netns,
    NetnsCookie,
    Prefix,
    SocketSample,
    Table,
    Tunable,
    Value,
)
from bpftune.model.tuner import (
    Policy,
    Tuner,
)

__all__ = [
    "Advise",
    "Change",
    "Drop",
    "Event",
    "Facts",
    "Keep",
    "Memory",
    "Netns",
    "NetnsCookie",
    "NetnsGone",
    "Nudge",
    "Policy",
    "Prefix",
    "Put",
    "ReadText",
    "Recheck",
    "Rejected",
    "Request",
    "Sampled",
    "SocketSample",
    "Survey",
    "Table",
    "Take",
    "Taken",
    "Tell",
    "TextRead",
    "Tunable",
    "Tuner",
    "Value",
    "ValueChanged",
    "Wake",
    "Watch",
    "Woken",
    "Yield",
    "Yielded",
]
