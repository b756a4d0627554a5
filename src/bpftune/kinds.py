"""The kinds of records: how urgent each is, and the id that journald knows it by.

A message id is random and never changes: ``journalctl MESSAGE_ID=...`` finds all
records of a kind, and ``packaging/bpftune.catalog`` explains it.
"""

from __future__ import annotations

from typing import NamedTuple

# Severities of syslog(3), which journald shares.
WARNING = 4
NOTICE = 5
INFO = 6


class Kind(NamedTuple):
    """A kind of record: *message_id* as 32 hex digits, *priority* as syslog's."""

    message_id: str
    priority: int


# What changes the machine, or is for the admin to decide, is a notice.
KINDS = {
    "started": Kind("3c2f2f1d49c541f6be9071a26fbda4b5", INFO),
    "change": Kind("57f7caf3eefc48bfbd5a21f732d8321a", NOTICE),
    "kept": Kind("35c0ec0cd0574ff09c1d41e8942bb9f2", NOTICE),
    "taken_back": Kind("b9229f4db59440df87505ccf029dff45", NOTICE),
    "shrunk": Kind("97337917cadc41f58bcdeebdc919665b", NOTICE),
    "rejected": Kind("a659a548b146487cb64e1cd179091dab", INFO),
    "yielded": Kind("31dbdc14a46c454ab64afb5692b1e549", NOTICE),
    "adopted": Kind("ddc1ce16bc314824a709fd8aec5f7b92", NOTICE),
    "rolled_back": Kind("5743f27bdf92492b8436157ff10c5d29", NOTICE),
    "tries": Kind("afec6af86d924ed79e46cb3a22957789", NOTICE),
    "chosen": Kind("bca6a3c53e2e43c7b1aa103fc40c35ee", NOTICE),
    "ended": Kind("79f2fa7be8dc4535945b8def292e4bfd", NOTICE),
    "paused": Kind("4d10e1f4d65e4b40b8416a6bec0144f7", NOTICE),
    "resumed": Kind("54c1e434763e42fb9f1f94283c194e4c", NOTICE),
    "advice": Kind("4bedba7323804ce4a32a12e3269633a3", NOTICE),
    "lost": Kind("10d2c213d31f494692c8d1ea663aa414", WARNING),
    "degraded": Kind("c5409347b2a341e897993a10ff0ca072", WARNING),
    "stopped": Kind("00024ee550a549169a56678112a487e9", INFO),
}


def kind_of(record: str) -> Kind:
    """Return the kind of a *record* by name; an unknown one is a notice without id."""
    return KINDS.get(record, Kind("", NOTICE))
