from __future__ import annotations

import pytest

from bpftune.control.view import (
    is_called,
    netns_shape,
    state_of,
    tunable_shape,
    tuner_shape,
)
from bpftune.kernel.verdict import Verdict
from bpftune.ledger import Entry
from bpftune.model import Netns, NetnsCookie, Tuner
from tests.unit.fakes import FOUND, HOST, MIB, RED, TCP_WMEM, wmem

TUNER = Tuner("t", "sizes\nthings")
WORKS, REFUSED = Verdict("a", True), Verdict("b", False, "no such hook")


def entry(**more: object) -> Entry:
    made = Entry(RED, TCP_WMEM, "t", FOUND, FOUND, FOUND)
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("more", "paused", "state"),
    [
        ({}, False, "found"),
        ({"expected": wmem(8 * MIB)}, False, "ours"),
        ({"expected": wmem(8 * MIB), "trial": "x"}, False, "trial"),
        ({"trial": ""}, False, "trial"),
        ({"expected": wmem(8 * MIB), "yielded": True}, True, "yielded"),
        ({"expected": wmem(8 * MIB)}, True, "paused"),
    ],
)
def test_the_state_is_one_word(
    more: dict[str, object], paused: bool, state: str
) -> None:
    assert state_of(entry(**more), paused=paused) == state


def test_a_tunable_has_whole_values() -> None:
    shape = tunable_shape(entry(changes=2, change_id="c7"), paused=False, undo="x\ny")
    assert shape["found"] == list(FOUND)
    assert shape["netns"] == {"cookie": 2, "name": "red"}
    assert (shape["change"], shape["changes"]) == ("c7", 2)
    assert shape["undo"] == "x\\x0ay"


@pytest.mark.parametrize(
    ("verdicts", "runs", "paused", "off", "state", "why"),
    [
        ([WORKS], True, False, None, "on", None),
        ([], True, False, None, "on", None),
        ([WORKS, REFUSED], True, False, None, "degraded", "b: no such hook"),
        ([REFUSED], True, False, None, "unsupported", "b: no such hook"),
        ([REFUSED], False, False, None, "unsupported", "b: no such hook"),
        ([WORKS], True, True, None, "paused", "paused by the admin"),
        ([WORKS], False, True, "ValueError: x", "off", "ValueError: x"),
    ],
)
def test_a_tuner_says_how_it_is(
    verdicts: list[Verdict],
    runs: bool,
    paused: bool,
    off: str | None,
    state: str,
    why: str | None,
) -> None:
    shape = tuner_shape(TUNER, verdicts, runs=runs, paused=paused, off=off)
    assert (shape["state"], shape["why"]) == (state, why)
    assert shape["destinations"] == 0
    assert shape["summary"] == "sizes\\x0athings"


@pytest.mark.parametrize("byte", range(1, 256))
def test_a_name_of_any_bytes_is_printable_and_can_be_typed(byte: int) -> None:
    name = bytes([0x61, byte]).decode(errors="surrogateescape")
    netns = Netns(NetnsCookie(9), name)
    shown = netns_shape(netns)["name"]
    assert isinstance(shown, str)
    assert shown.isascii()
    assert shown.isprintable()
    assert is_called(netns, shown)


def test_a_namespace_without_a_name_is_called_by_its_cookie() -> None:
    netns = Netns(NetnsCookie(77))
    assert netns_shape(netns) == {"cookie": 77, "name": None}
    assert is_called(netns, "#77")
    assert is_called(RED, "#2")
    assert is_called(HOST, "host")
    assert not is_called(HOST, "red")
