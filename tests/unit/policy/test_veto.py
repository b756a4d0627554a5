from __future__ import annotations

from bpftune.policy.veto import FIRST_WAIT_S, LONGEST_WAIT_S, VETO_S, Veto


def test_waits_are_longer_each_time() -> None:
    veto, now_s, waits = Veto(), 0.0, []
    for _ in range(12):
        veto = veto.ended_early(now_s)
        waits.append(veto.until_s - now_s)
        assert veto.forbids(veto.until_s - 1)
        assert not veto.is_over(veto.until_s - 1)
        now_s = veto.until_s
        assert not veto.forbids(now_s)
        assert veto.is_over(now_s)
    assert waits[:4] == [FIRST_WAIT_S, VETO_S, 2 * VETO_S, 4 * VETO_S]
    assert waits[-1] == LONGEST_WAIT_S


def test_a_path_that_turned_ends_the_wait_but_the_next_is_as_long() -> None:
    veto = Veto().ended_early(0.0).ended_early(1000.0).lifted(1200.0)
    assert not veto.forbids(1200.0)
    assert veto.is_over(1200.0)
    assert veto.ended_early(1300.0).until_s == 1300.0 + 2 * VETO_S


def test_where_the_best_arm_known_did_harm_the_next_trials_count_from_the_first() -> (
    None
):
    veto = Veto().turned(0.0)
    assert veto.forbids(FIRST_WAIT_S - 1)
    assert veto.is_over(FIRST_WAIT_S)
    veto = veto.ended_early(1000.0)
    assert veto.until_s == 1000.0 + FIRST_WAIT_S
    assert veto.ended_early(2000.0).until_s == 2000.0 + VETO_S


def test_nothing_is_forbidden_at_first() -> None:
    assert not Veto().forbids(0.0)
    assert not Veto().is_over(1e9)
