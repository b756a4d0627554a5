"""What the machine makes of tuners whose programs it cannot all run."""

from __future__ import annotations

import pytest

from bpftune import machine
from bpftune.kernel.errors import KernelError
from bpftune.machine import Machine
from bpftune.tuners import discover


def test_who_cannot_do_anything_without_cgroup2_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> None:
        raise KernelError("no cgroup2 file system is mounted", "mount one")

    tuners, _ = discover([])
    with Machine() as made:
        assert [one.name for one in made.load(tuners)] == [one.name for one in tuners]
    monkeypatch.setattr(machine, "cgroup2_root", nowhere)
    with Machine() as made:
        usable = [one.name for one in made.load(tuners)]
        assert "congestion" not in usable, "it could apply nothing"
        assert {"sysctl", "tcp_buffer"} <= set(usable)
        refused = {one.program: one.works for one in made.verdicts["congestion"]}
        assert refused == {"apply_arm": False, "see_end": True}
