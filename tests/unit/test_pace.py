"""Deadlines that fit the machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bpftune.lab import child
from tests import pace


def test_deadlines_grow_with_slowness_and_never_shrink() -> None:
    assert pace.factor_for(0.01) == 1
    assert pace.factor_for(3 * pace.REFERENCE_S) == pytest.approx(3)
    assert pace.factor_for(1000) == pace.MOST


def test_slowness_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pace.slowness.cache_clear()
    monkeypatch.delenv(pace.MEASURED, raising=False)
    measured = pace.slowness()
    assert 1 <= measured <= pace.MOST
    monkeypatch.setattr("tests.pace.subprocess.run", None)
    assert pace.patient(10) == 10 * measured
    # Another process, which may be of a user who may not start Python.
    pace.slowness.cache_clear()
    assert pace.patient(10) == pytest.approx(10 * measured, rel=0.01)


def test_an_emulated_machine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pace.EMULATED, "1")
    assert pace.is_emulated()
    monkeypatch.delenv(pace.EMULATED)
    assert not pace.is_emulated()


@pytest.mark.parametrize("how", ["--quiet", "--verbose"])
def test_the_laboratory_is_as_patient_as_the_tests_of_an_emulated_machine(
    how: str,
) -> None:
    environment = {**os.environ, pace.EMULATED: "1", pace.MEASURED: "3.5"}
    this = f"{__file__}::test_the_laboratory_waits_as_long_as_tests_do"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", how, this]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_laboratory_waits_as_long_as_tests_do() -> None:
    assert child.patience == (pace.slowness() if pace.is_emulated() else 1)


def test_a_limit_is_exceeded_in_an_emulated_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 12.0)
    monkeypatch.delenv(pace.EMULATED, raising=False)
    assert pace.allowed(2) == 2
    monkeypatch.setenv(pace.EMULATED, "1")
    assert pace.allowed(2) == 24
