"""Sentences in the log's own words, from choices that were really made."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from bpftune.policy.choice import begin
from bpftune.policy.choice_words import best, estimate, evidence, record
from bpftune.policy.excursion import Proof
from bpftune.policy.paired import Pairs
from bpftune.policy.reward import SizeClass
from bpftune.text import one_line

from .congestion_rivals import SAFE, Bpftune, play
from .congestion_world import BBR, CUBIC, MB, Path, Users

ESTIMATE = r"-?\d+\.\d ± \d\.\d in \d+ blocks? \(\d+ flows?\)"
DEEP = (Path(buffer_bdp=4), [Users(4, (10 * MB, 40 * MB))])
SHALLOW = (Path(buffer_bdp=0.25), [Users(4, (10 * MB, 20 * MB, 40 * MB))])
LOSSY = (Path(loss=0.001), [Users(1, (40 * MB,))])


def said(path: Path, users: list[Users], seconds: float = 2400) -> Bpftune:
    us = Bpftune()
    play(path, users, us, seconds)
    assert us.said
    return us


def test_less_delay_at_the_same_rate() -> None:
    sentence = said(*DEEP).said[0]
    assert re.fullmatch(
        rf"bbr from now on: {ESTIMATE} against cubic {ESTIMATE}: same rate, "
        r"queueing delay [34]\.\dx to 2\.\dx",
        sentence,
    )
    assert one_line(sentence) == sentence


def test_more_rate() -> None:
    assert re.fullmatch(
        rf"bbr from now on: {ESTIMATE} against cubic {ESTIMATE}: "
        r"1\d(\.\d)? to 8\d(\.\d)? Mbit/s, queueing delay 1\.0x to 1\.\dx",
        said(*LOSSY).said[0],
    )


def test_harm() -> None:
    us = said(*SHALLOW)
    assert re.fullmatch(
        r"stays cubic: bbr trial ended after [4-6] flows, "
        r"\d+ % retransmits against 0\.\d+ %",
        us.said[0],
    )
    assert best(us.choice).startswith("cubic: ")


def test_nothing_is_due_after_an_ordinary_block() -> None:
    us = said(*DEEP)
    assert len(us.said) == 1
    assert record(us.choice, us.steps[-1][1]) is None


def test_the_one_that_stands_is_explained_and_what_is_proved_is_said() -> None:
    choice = said(*DEEP).choice
    assert best(choice).startswith("bbr from now on: ")
    assert "odds" not in best(choice)
    proved = replace(choice, proof=Proof({BBR: Pairs(12, 12)}))
    assert best(proved).endswith(" (won 12 of 12 pairs, odds 660:1)")


def test_a_destination_of_small_transfers_is_explained() -> None:
    us = Bpftune()
    play(Path(), [Users(4, (0.1 * MB,), 1)], us, 300)
    assert best(us.choice).endswith("too few bytes in large flows for a trial")
    assert best(begin(CUBIC, SAFE, 0.0)) == "cubic: nothing is known yet"


@pytest.mark.parametrize("world", [DEEP, SHALLOW])
def test_evidence_is_plain(world: tuple[Path, list[Users]]) -> None:
    us = said(*world)
    for _, following in us.steps:
        facts = evidence(us.choice, following)
        assert json.loads(json.dumps(facts)) == facts
        assert facts["randomised"] is False
        assert facts["proved"] is False


def test_an_unknown_arm_has_no_blocks() -> None:
    words = estimate(begin(CUBIC, SAFE, 0.0), SizeClass.LARGE, BBR)
    assert words.endswith("in 0 blocks (0 flows)")
