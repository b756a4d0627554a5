"""What our programs cost the verifier does not grow unseen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.vm import budget
from tests.vm.budget import (
    FILE,
    clang_version,
    growth,
    measure,
    nearest,
    read,
    releases,
)

LIMIT = 1_000_000
"""The kernel's BPF_COMPLEXITY_LIMIT_INSNS."""


def test_programs_cost_the_verifier_no_more_than_they_did(objects: Path) -> None:
    del objects
    now, text = measure(), FILE.read_text()
    release = os.uname().release
    kernel = nearest(release, releases(text))
    tolerated = budget.tolerated(text, kernel, release, clang_version())
    told = growth(now, read(kernel, text), tolerated)
    if told:
        pytest.fail(
            f"compared with Linux {kernel}:\n"
            + "\n".join(told)
            + "\nIf it is worth that, run make kernel-lists and commit the new numbers."
        )
    assert all(cost.verified_insns < LIMIT / 10 for cost in now.values())
