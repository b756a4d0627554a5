"""Records with anything in them, as no daemon would tell and any plugin could."""

from __future__ import annotations

from hypothesis import strategies as st

from bpftune.kinds import KINDS
from bpftune.model import Netns
from bpftune.records import Record

any_text = st.one_of(
    st.text(st.characters(categories=None), max_size=20),
    st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape")),
)
any_value = st.none() | st.lists(st.integers(-(2**64), 2**64), max_size=4).map(tuple)
any_thing = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3)
    ),
    max_leaves=5,
)
any_record = st.builds(
    Record,
    record=st.sampled_from(list(KINDS)),
    why=any_text,
    tuner=st.none() | any_text,
    tunable=st.none()
    | st.sampled_from(["net.ipv4.tcp_wmem", "vm.swappiness", ""])
    | any_text,
    netns=st.none() | st.builds(Netns, st.integers(0), st.none() | any_text),
    old=any_value,
    new=any_value,
    change=st.none() | any_text,
    undo=st.none() | any_text,
    extra=st.dictionaries(
        any_text | st.sampled_from(["by_uid", "by_comm", "destination"]),
        any_thing,
        max_size=3,
    ),
    mode=st.sampled_from([None, "tune", "observe"]),
)
