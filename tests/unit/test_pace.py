"""Deadlines that fit the machine."""

from __future__ import annotations

import pytest

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


def test_a_limit_is_exceeded_in_an_emulated_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 12.0)
    monkeypatch.delenv(pace.EMULATED, raising=False)
    assert pace.allowed(2) == 2
    monkeypatch.setenv(pace.EMULATED, "1")
    assert pace.allowed(2) == 24
