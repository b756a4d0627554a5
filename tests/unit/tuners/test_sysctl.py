"""What the sysctl tuner makes of writes and of changed values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.model import (
    Facts,
    Memory,
    Netns,
    NetnsCookie,
    Recheck,
    Tunable,
    ValueChanged,
    Yield,
)
from bpftune.tuners.sysctl import (
    NAME_BYTES,
    SysctlWritten,
    dotted_name,
    hook_key,
    tuner,
    value_of,
)
from tests.leftovers import kept_blocks

COOKIE = NetnsCookie(4101)
WMEM = Tunable("net.ipv4.tcp_wmem")
FACTS = Facts(
    netns=Netns(COOKIE, "web"),
    now_s=0.0,
    values={},
    found={},
    yielded=frozenset(),
    memory=Memory(1 << 30, 1 << 29, 0, 1 << 28),
)


def padded(data: bytes, size: int = NAME_BYTES) -> bytes:
    return data.ljust(size, b"\0")


WRITTEN = SysctlWritten(
    netns_cookie=COOKIE,
    tgid=77,
    uid=0,
    comm=padded(b"sysctl", 16),
    name=padded(b"net/ipv4/tcp_wmem"),
    old_value=padded(b"4096\t16384\t4194304\n"),
    new_value=padded(b"4096 16384 8388608\n"),
)


def test_a_write_has_the_value_read_again() -> None:
    assert list(tuner.event_handler(WRITTEN, FACTS)) == [
        Recheck(
            "net.ipv4.tcp_wmem",
            (4096, 16384, 4194304),
            0,
            b"sysctl",
            "4096\t16384\t4194304",
        )
    ]


def test_what_was_written_is_not_believed() -> None:
    # "banana" is seen before the kernel refuses it, so it says nothing.
    for new in (b"banana", b"", b"\xff" * NAME_BYTES):
        event = replace(WRITTEN, new_value=padded(new))
        assert list(tuner.event_handler(event, FACTS)) == list(
            tuner.event_handler(WRITTEN, FACTS)
        )


def test_an_old_value_that_is_no_number_is_unknown() -> None:
    event = replace(WRITTEN, old_value=padded(b"cubic\n"))
    assert list(tuner.event_handler(event, FACTS)) == [
        Recheck("net.ipv4.tcp_wmem", (), 0, b"sysctl", "cubic")
    ]


def test_an_old_text_that_was_cut_is_unknown() -> None:
    for old, text in (
        (b"c" * 61 + b"\n\0\0", "c" * 61),
        (b"c" * 62 + b"\n\0", None),
        (b"c" * NAME_BYTES, None),
        (b"\0" * NAME_BYTES, ""),
        (b"\xff".ljust(NAME_BYTES, b"\0"), "\udcff"),
    ):
        (again,) = tuner.event_handler(replace(WRITTEN, old_value=old), FACTS)
        assert isinstance(again, Recheck)
        assert again.old_text == text


@pytest.mark.parametrize("name", [b"", b"\0" * 64, b"x" * 64, b"tcp_wmem", b"a/\xff"])
def test_a_name_that_is_none_is_left_alone(name: bytes) -> None:
    assert not tuner.event_handler(replace(WRITTEN, name=name), FACTS)


CHANGED = ValueChanged(COOKIE, WMEM, (1, 2, 3), (4, 5, 6), uid=0, comm=b"sysctl")


def test_a_real_change_hands_the_tunable_over_and_says_who() -> None:
    assert list(tuner.event_handler(CHANGED, FACTS)) == [
        Yield(WMEM, "uid 0 (sysctl) set it to 4 5 6", CHANGED.old, 0, b"sysctl")
    ]


def test_a_change_that_no_hook_saw_hands_it_over_as_well() -> None:
    event = replace(CHANGED, uid=None, comm=b"")
    assert list(tuner.event_handler(event, FACTS)) == [
        Yield(WMEM, "somebody set it to 4 5 6 (not seen by the hook)", event.old)
    ]


def test_what_was_handed_over_is_not_handed_over_again() -> None:
    facts = replace(FACTS, yielded=frozenset({WMEM}))
    assert not tuner.event_handler(CHANGED, facts)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_of_a_command_name_is_made_printable(byte: int) -> None:
    event = replace(CHANGED, comm=b"a" + bytes([byte]) + b"b")
    (request,) = tuner.event_handler(event, FACTS)
    assert isinstance(request, Yield)
    assert request.why.isascii()
    assert request.why.isprintable()


def test_keys_are_padded_paths() -> None:
    assert hook_key("net.ipv4.tcp_wmem") == padded(b"net/ipv4/tcp_wmem")
    assert hook_key("net.ipv4.conf.eth0/1.x") == padded(b"net/ipv4/conf/eth0.1/x")


def test_a_name_too_long_for_a_key_is_refused() -> None:
    assert len(hook_key("a." + "x" * 61)) == NAME_BYTES
    with pytest.raises(ValueError, match="63 bytes"):
        hook_key("a." + "x" * 62)


def test_a_key_is_the_name_again() -> None:
    for name in ("net.ipv4.tcp_wmem", "net.ipv4.conf.eth0/1.x"):
        assert dotted_name(hook_key(name)) == name


def test_a_value_that_was_cut_is_not_read_as_a_smaller_one() -> None:
    assert value_of(b"1" * 62 + b"\0\0") == ()  # no kernel number is so long
    assert value_of(b"1 " * 31 + b"1\0") == ()
    assert value_of(b"1 " * 30 + b"1\0\0\0") == (1,) * 31


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_understood_or_left_alone(name: bytes, value: bytes) -> None:
    event = replace(WRITTEN, name=name, old_value=value)
    for request in tuner.event_handler(event, FACTS):
        assert isinstance(request, Recheck)


@given(st.lists(st.integers(-(2**63), 2**63), min_size=1, max_size=3))
def test_numbers_are_read_as_the_kernel_writes_them(numbers: list[int]) -> None:
    text = "\t".join(map(str, numbers)).encode() + b"\n"
    assert value_of(text.ljust(80, b"\0")) == tuple(numbers)


def test_numbers_read_leave_nothing() -> None:
    field = b"4096 131072 6291456".ljust(80, b"\0")
    assert kept_blocks(lambda: value_of(field)) < 100
