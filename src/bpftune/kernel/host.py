"""What the daemon itself asks the kernel by BPF: host.bpf.c, loaded as a tuner.

``who_am_i`` is run once at the start: it gives our number in the first pid
namespace, by which BPF programs know our own writes, and its event proves that
the ring buffer works. ``list_netns`` gives ``Namespaces`` its processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bpftune.model import Event, Tuner


@dataclass(frozen=True, slots=True)
class SelfTest(Event):
    """The daemon asked who it is; *tgid* as the first pid namespace counts."""

    tgid: int


HOST = Tuner(
    name="host",
    summary="Know the network namespaces, and ourselves",
    events=(SelfTest,),
    bpf_object=Path(__file__).with_name("host.bpf.o"),
    losses={
        "who_am_i": "our own writes are known by the number in our pid namespace",
        "list_netns": "network namespaces are looked for in /proc, which is slower",
    },
)
