from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.control.access import OVERFLOW, Peer, group_number, is_trusted

ids = st.integers(1, 2**32 - 2)


@pytest.mark.parametrize("group", [None, 977])
def test_root_is_trusted(group: int | None) -> None:
    assert is_trusted(Peer(0, 0), group)
    assert is_trusted(Peer(0, OVERFLOW), group)


def test_a_member_of_the_group_is_trusted_by_either_list() -> None:
    assert is_trusted(Peer(1000, 977), 977)
    assert is_trusted(Peer(1000, 1000, frozenset({4, 977})), 977)


@given(ids, ids, st.frozensets(ids))
def test_nobody_else_is(uid: int, gid: int, groups: frozenset[int]) -> None:
    peer = Peer(uid, gid, groups)
    assert not is_trusted(peer, None)
    assert is_trusted(peer, 977) == (977 in groups | {gid})
    # The group root is not root.
    assert not is_trusted(Peer(uid, 0, frozenset({0})), 977)


def test_what_another_user_namespace_maps_to_nothing_is_nobody() -> None:
    stranger = Peer(OVERFLOW, OVERFLOW, frozenset({OVERFLOW}))
    assert not is_trusted(stranger, 977)
    # Even where somebody made a group of that number.
    assert not is_trusted(stranger, OVERFLOW)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("root:x:0:\nbpftune:x:977:alice,bob\n", 977),
        ("bpftune:x:977:", 977),
        ("bpftuned:x:1:\nxbpftune:x:2:\n", None),
        ("bpftune:x::\nbpftune:x:-1:\nbpftune:x:9\n", None),
        ("", None),
    ],
)
def test_finds_the_group_in_the_file(text: str, number: int | None) -> None:
    assert group_number(text) == number
