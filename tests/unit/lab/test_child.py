from __future__ import annotations

import resource
import sys

import pytest

from bpftune.lab import child
from bpftune.lab.child import begin

Limits = tuple[int, int]
ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("found", "flows", "raised"),
    [
        ((1024, 4096), 1, (1024, 4096)),
        ((1024, 4096), 1000, (2064, 4096)),
        ((1024, 4096), 3000, (6064, 6064)),
        ((1024, ENDLESS), 3000, (6064, ENDLESS)),
        ((ENDLESS, ENDLESS), 3000, (ENDLESS, ENDLESS)),
    ],
)
def test_there_is_room_for_the_sockets_of_all_flows(
    found: Limits, flows: int, raised: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Limits] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: found)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, both: limits.append(both))
    monkeypatch.setattr(child, "_die_with", lambda _parent: None)
    monkeypatch.setattr(sys, "argv", ["sender", f'{{"flows": {flows}}}'])
    assert begin() == {"flows": flows}
    assert limits == [raised]


def test_it_dies_with_the_parent_also_after_it_became_somebody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    monkeypatch.setattr(child, "_die_with", lambda _parent: done.append("die with"))
    monkeypatch.setattr(child, "_become", lambda uid: done.append(f"become {uid}"))
    monkeypatch.setattr(sys, "argv", ["sender", '{"uid": 65534}'])
    begin()
    assert done == ["die with", "become 65534", "die with"]
