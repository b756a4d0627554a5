"""The learner on synthetic paths, see ``congestion_world``; the long runs are in
``test_choice_long``."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftune.policy.choice import Choice, add, begin, offer
from bpftune.policy.harm import Harm
from bpftune.policy.next_arm import Next, step
from bpftune.policy.parents import MOST_VOTE
from bpftune.policy.reward import SizeClass, Sums

from .congestion_rivals import SAFE, Bpftune, FlowLearner, Rival, play
from .congestion_world import BBR, CUBIC, MB, Path, Users, World

SHALLOW, DEEP = Path(buffer_bdp=0.25), Path(buffer_bdp=4)
FOUR = [Users(4, (10 * MB, 20 * MB, 40 * MB))]

GOOD = Sums(10, 10_000_000, 1_000_000, 10_000_000 * 40_000, 40_000, 0, 0, 7000, 0)
"""Ten flows of 80 Mbit/s at 40 ms without a loss."""
POOR = replace(GOOD, busy_us=8_000_000)
LOSSY = replace(GOOD, late_retransmitted=700)


def block(
    choice: Choice, sums: Sums, now_s: float, *, may_try: bool = True
) -> tuple[Choice, Next | None]:
    """Let *choice* see a block of *sums* that is long enough at *now_s*."""
    choice = add(choice, choice.block.run, {SizeClass.LARGE: sums}, now_s)
    return step(choice, now_s, may_try=may_try)


def learned(cubic: Sums, bbr: Sums, blocks: int = 8, seed: int = 1) -> Choice:
    """Return what is known after some blocks that vary by a few per cent."""
    chance = random.Random(seed)
    choice = begin(CUBIC, SAFE, 0.0)
    for number in range(1, blocks + 1):
        sums = cubic if choice.block.arm == CUBIC else bbr
        busy_us = int(sums.busy_us * chance.lognormvariate(0, 0.05))
        choice, _ = block(choice, replace(sums, busy_us=busy_us), 100.0 * number)
    return choice


# --- worlds --------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_ends_on_the_default_where_the_other_harms_all(seed: int) -> None:
    us = Bpftune()
    play(SHALLOW, FOUR, us, 3600, seed=seed)
    assert us.choice.standing == CUBIC
    assert us.off_s <= 0.06 * 3600
    trials = [one.ended for _, one in us.steps if one.ended.block.arm == BBR]
    assert trials
    for ended in trials:
        assert ended.harm is Harm.LOSS
        assert ended.block.flows <= 6  # those that end in the second of the fourth


@pytest.mark.parametrize(
    ("path", "users"),
    [
        (DEEP, [Users(4, (50 * MB, 100 * MB))]),
        (Path(loss=0.001), [Users(1, (40 * MB,))]),
        (Path(loss=0.01), [Users(1, (10 * MB,))]),
        (Path(50, 0.020, 8), [Users(1, (10 * MB,))]),
    ],
    ids=["deep", "0.1 % loss", "1 % loss", "8 BDP"],
)
def test_finds_the_better_arm_within_four_blocks(
    path: Path, users: list[Users]
) -> None:
    us = Bpftune()
    play(path, users, us, 3600)
    assert us.choice.standing == BBR
    arms = us.arms_of()
    assert BBR in arms[:4]
    assert arms[4:].count(BBR) >= 0.8 * len(arms[4:])


def test_finds_the_default_again_where_that_is_the_worse() -> None:
    us = Bpftune(choice=begin(BBR, (BBR, CUBIC), 0.0))
    play(SHALLOW, FOUR, us, 2400)
    assert us.choice.standing == CUBIC
    assert us.arms_of()[-5:].count(CUBIC) >= 4


def test_leaves_a_world_that_became_the_worse_with_one_block() -> None:
    us = Bpftune()
    play(Path(buffer_bdp=4), FOUR, us, 2400, changes=[(1200, SHALLOW)])
    after = [one.ended for at_s, one in us.steps if at_s >= 1200]
    harmed = next(n for n, ended in enumerate(after) if ended.harm is Harm.LOSS)
    assert harmed <= 1  # the block under way may be over first
    assert after[harmed + 1].block.arm == CUBIC


def test_a_learner_of_flows_ends_on_the_worse_world() -> None:
    """Why blocks: the same reward, learned from flows side by side."""
    flows = FlowLearner()
    world = play(DEEP, [Users(4, (50 * MB, 100 * MB))], flows, 3600)
    assert world.arms[CUBIC] > 0.8 * sum(world.arms.values())
    rates = Rival()
    world = play(SHALLOW, FOUR, rates, 3600)
    assert world.arms[BBR] > 0.8 * sum(world.arms.values())


def test_two_destinations_behind_one_gateway_are_both_learned() -> None:
    """One at a time is on trial: they share a device."""
    paths = {BBR: Path(loss=0.01, buffer_bdp=2), CUBIC: SHALLOW}
    ours: dict[str, Bpftune] = {arm: Bpftune() for arm in paths}
    ours[BBR].may_try = lambda: not ours[CUBIC].choice.block.trial
    ours[CUBIC].may_try = lambda: not ours[BBR].choice.block.trial
    gateway = Rival()
    worlds = {arm: World(path, FOUR, ours[arm]) for arm, path in paths.items()}
    rivals = {arm: World(path, FOUR, gateway) for arm, path in paths.items()}
    for second in range(1500):
        for world in (*worlds.values(), *rivals.values()):
            world.run(float(second))
        assert not all(one.choice.block.trial for one in ours.values())
    for arm, one in ours.items():
        assert one.choice.standing == arm
    favourites = {max(SAFE, key=lambda arm: rivals[path].arms[arm]) for path in paths}
    assert len(favourites) == 1


def test_no_trial_where_few_bytes_are_in_large_flows() -> None:
    us = Bpftune()
    sizes = (0.05 * MB, 0.1 * MB, 0.3 * MB)
    play(Path(loss=0.001), [Users(8, sizes, 1)], us, 1800)
    assert us.off_s == 0
    assert len(us.steps) > 20


def test_the_same_arm_under_two_names_stays_on_the_default() -> None:
    us = Bpftune()
    play(Path(), [Users(2, (10 * MB,))], us, 3600, same=True)
    assert us.off_s <= 0.17 * 3600
    assert us.choice.standing == CUBIC
    assert not us.said


# --- steps ----------------------------------------------------------------------


def test_the_first_block_is_the_defaults_and_then_the_unseen_arm_is_tried() -> None:
    choice = begin(CUBIC, SAFE, 0.0)
    assert choice.block.arm == CUBIC
    choice, following = block(choice, GOOD, 40)
    assert following is not None
    assert (following.arm, following.run, following.is_trial) == (BBR, 2, True)


def test_a_block_goes_on_until_it_is_long_enough() -> None:
    _, following = block(begin(CUBIC, SAFE, 0.0), GOOD, 29)
    assert following is None


def test_flows_of_an_earlier_run_do_not_count() -> None:
    choice, _ = block(begin(CUBIC, SAFE, 0.0), GOOD, 40)
    choice = add(choice, 1, {SizeClass.LARGE: LOSSY}, 41)
    assert choice.block.flows == 0
    assert choice.min_rtt_us == 40_000


def test_no_trial_beside_another_of_the_device() -> None:
    _, following = block(begin(CUBIC, SAFE, 0.0), GOOD, 40, may_try=False)
    assert following is not None
    assert (following.arm, following.run, following.is_trial) == (CUBIC, 1, False)
    better = learned(POOR, GOOD)
    _, following = block(better, GOOD, 1000, may_try=False)
    assert following is not None
    assert following.arm == BBR


def test_two_early_ends_forbid_the_arm_for_an_hour_and_then_longer() -> None:
    choice = begin(CUBIC, SAFE, 0.0)
    now_s, trials = 0.0, []
    while now_s < 6 * 3600:
        now_s += 100
        is_trial = choice.block.arm == BBR
        choice, _ = block(choice, LOSSY if is_trial else GOOD, now_s)
        if is_trial:
            trials.append(now_s)
    waits = [late - early for early, late in pairwise(trials)]
    assert waits[:3] == pytest.approx([700, 3700, 7300], abs=101)


def test_a_trial_without_flows_waits_too() -> None:
    choice, _ = block(begin(CUBIC, SAFE, 0.0), GOOD, 40)
    choice, following = block(choice, Sums(), 340)
    assert following is not None
    assert following.ended.score is None
    assert following.arm == CUBIC
    _, following = block(choice, GOOD, 400)
    assert following is not None
    assert following.arm == CUBIC


def test_an_arm_that_vanished_is_left_at_once_and_known_when_it_is_back() -> None:
    choice = learned(POOR, GOOD)
    assert choice.block.arm == BBR
    gone = offer(choice, CUBIC, (CUBIC,), 1000)
    assert (gone.block.arm, gone.block.run) == (CUBIC, choice.block.run + 1)
    assert gone.standing == CUBIC
    _, following = block(gone, POOR, 1100)
    assert following is not None
    assert following.arm == CUBIC
    back, following = block(offer(gone, CUBIC, SAFE, 1101), POOR, 1200)
    assert following is not None
    assert following.arm == BBR
    assert back.standing == BBR


def test_another_default_of_the_admins_is_what_comes_next() -> None:
    choice = learned(POOR, GOOD)
    other = offer(choice, "reno", ("reno", *SAFE), 1000)
    assert other.block.arm == other.standing == other.default == "reno"


def test_the_same_offer_changes_nothing() -> None:
    choice = learned(POOR, GOOD)
    assert offer(choice, CUBIC, SAFE, 1000) is choice


def test_the_least_round_trip_is_of_the_last_minutes() -> None:
    choice = begin(CUBIC, SAFE, 0.0)
    for now_s, rtt_us in ((10, 40_000), (400, 90_000), (800, 80_000)):
        sums = replace(GOOD, min_rtt_us=rtt_us)
        choice = add(choice, 1, {SizeClass.LARGE: sums}, now_s)
    assert choice.min_rtt_us == 80_000


def test_an_arm_that_has_to_wait_is_not_said_to_be_best() -> None:
    choice = learned(POOR, GOOD)
    assert choice.block.arm == choice.standing == BBR
    choice, ended = block(choice, LOSSY, 1000.0)
    assert ended is not None
    assert (ended.ended.harm, ended.is_settled, choice.standing) == (
        *(Harm.LOSS, True, CUBIC),
    )
    for now_s in (1100.0, 1200.0, 1300.0):  # it waits until 1600
        choice, after = block(choice, POOR, now_s)
        assert after is not None
        assert (after.arm, after.is_settled, choice.standing) == (CUBIC, False, CUBIC)
    choice, after = block(choice, POOR, 1700.0)  # now it is as if never seen
    assert after is not None
    assert (after.arm, after.is_trial, after.is_settled) == (BBR, True, False)


def test_a_bad_name_delays_the_first_trial_and_no_more() -> None:
    """Ten thousand hostile prefixes cannot decide for an honest one."""
    for gain in (-MOST_VOTE, MOST_VOTE):
        us = Bpftune(prior={BBR: gain})
        play(Path(loss=0.01), [Users(1, (10 * MB,))], us, 2700)
        assert us.choice.standing == BBR
        assert BBR in us.arms_of()[:8]
    us = Bpftune(prior={BBR: MOST_VOTE})
    play(SHALLOW, FOUR, us, 2700)
    assert us.choice.standing == CUBIC
    assert us.off_s <= 0.06 * 2700


SUMS = st.builds(
    Sums,
    *[st.integers(-(2**63), 2**64) | st.integers(0, 10**7) for _ in range(9)],
)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.dictionaries(st.sampled_from(SizeClass), SUMS),
            st.floats(0, 400),
            st.booleans(),
            st.sampled_from([SAFE, (CUBIC,), (CUBIC, "reno", BBR)]),
        ),
        max_size=30,
    )
)
def test_no_sums_lead_to_an_arm_that_is_not_offered(
    events: list[tuple[int, dict[SizeClass, Sums], float, bool, tuple[str, ...]]],
) -> None:
    choice, now_s = begin(CUBIC, SAFE, 0.0), 0.0
    for back, sums, after_s, may_try, arms in events:
        now_s += after_s
        run = choice.block.run
        choice = add(offer(choice, CUBIC, arms, now_s), run - back, sums, now_s)
        assert choice.block.arm in arms
        before = choice
        choice, following = step(choice, now_s, may_try=may_try)
        assert step(before, now_s, may_try=may_try) == (choice, following)
        assert choice.block.arm in arms
        assert run <= choice.block.run <= run + 2
        if following is not None:
            assert not (following.is_trial and not may_try)
    assert all(len(known) <= 3 for known in choice.known.values())
