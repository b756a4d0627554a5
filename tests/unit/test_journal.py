from __future__ import annotations

import errno
import json
import os
import stat
from binascii import crc32
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpftune.journal
from bpftune.entry import Entry, serial_of
from bpftune.journal import (
    LONG_BYTES,
    Journal,
    JournalError,
    Replayed,
    boot_id,
    replay,
)
from bpftune.model import Netns, NetnsCookie, Tunable, Value
from tests.unit.fakes import FOUND, HOST, MIB, RED, TCP_WMEM, wmem

BOOT = "7d8f6e6a-1b1d-4b0e-9f0b-5f6f1c0c8a11"
GROWN = wmem(8 * MIB)


def an_entry(netns: Netns = HOST, value: Value = GROWN, change: str = "c7") -> Entry:
    return Entry(
        netns,
        TCP_WMEM,
        "tcp_buffer",
        FOUND,
        value,
        FOUND,
        trial="10.0.0.0/24",
        written=value,
        changes=3,
        change_id=change,
        earlier_ids=["c5", "c6"],
        grant_bytes=4 * MIB,
        sockets=2,
        noted=True,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def begun(path: Path, *lines: Mapping[str, object], boot: str = BOOT) -> Journal:
    journal = Journal(path, boot)
    journal.rewrite(lines, 0)
    return journal


def test_what_was_appended_is_replayed_whole(path: Path) -> None:
    journal = begun(path)
    entries = [an_entry(), an_entry(RED, change="c9")]
    for entry in entries:
        journal.append(entry.as_fields("applied"))
    told = replay(path, BOOT)
    assert told == Replayed(entries, serial=9)


def test_the_last_line_of_a_tunable_counts(path: Path) -> None:
    journal = begun(path)
    journal.append(an_entry().as_fields("applied"))
    settled = replace(an_entry(), trial=None, settled=GROWN)
    journal.append(settled.as_fields("kept"))
    assert replay(path, BOOT).entries == [settled]


def test_a_namespace_that_is_gone_takes_its_entries_along(path: Path) -> None:
    journal = begun(path)
    for netns in (HOST, RED):
        journal.append(an_entry(netns).as_fields("applied"))
    journal.append({"step": "gone", "cookie": RED.cookie})
    assert [entry.netns for entry in replay(path, BOOT).entries] == [HOST]


def test_only_its_owner_may_read_it(path: Path) -> None:
    path.with_name("journal.new").touch(mode=0o666)
    begun(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_journal_tells_nothing(path: Path) -> None:
    assert replay(path, BOOT) == Replayed()


def test_a_journal_that_cannot_be_read_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError, match="cannot read"):
        replay(path, BOOT)


def test_another_boots_journal_tells_nothing_and_is_replaced(path: Path) -> None:
    begun(path, an_entry().as_fields("is"), boot="another").close()
    assert replay(path, BOOT) == Replayed(is_of_another_boot=True)
    begun(path, an_entry(RED).as_fields("is"))
    assert [entry.netns for entry in replay(path, BOOT).entries] == [RED]


def test_a_line_of_another_boot_under_our_header_does_not_count(path: Path) -> None:
    begun(path, an_entry().as_fields("is"), boot="another").close()
    foreign = path.read_bytes().splitlines(keepends=True)[1]
    begun(path).close()
    with path.open("ab") as file:
        file.write(foreign)
    assert replay(path, BOOT) == Replayed(cut_bytes=len(foreign))


def test_this_boot_has_an_id() -> None:
    assert len(boot_id()) == len(BOOT)
    assert boot_id() == boot_id()


# --- damage ------------------------------------------------------------------


def test_cut_at_any_byte_it_tells_all_whole_lines(path: Path) -> None:
    journal = begun(path)
    sizes = [path.stat().st_size]
    for number in range(1, 4):
        journal.append(an_entry(value=wmem(number * 8 * MIB)).as_fields("applied"))
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        told = replay(path, BOOT)
        number = max([n for n, size in enumerate(sizes) if size <= length], default=-1)
        kept = sizes[number] if number >= 0 else 0
        assert told.cut_bytes == length - kept
        assert told.skipped == 0
        values = [entry.expected for entry in told.entries]
        assert values == ([wmem(number * 8 * MIB)] if number > 0 else [])


@given(st.data())
def test_any_flipped_bit_costs_one_line_and_is_counted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "journal"
    places = [Netns(NetnsCookie(number)) for number in range(1, 5)]
    begun(path, *[an_entry(netns).as_fields("is") for netns in places]).close()
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[at // 8] ^= 1 << at % 8
    path.write_bytes(whole)
    told = replay(path, BOOT)
    # A flipped newline joins two lines; one in the header costs no entry.
    assert 2 <= len(told.entries) <= 4
    assert told.skipped or told.cut_bytes
    for entry in told.entries:
        assert entry == an_entry(entry.netns)


@given(st.binary(max_size=300))
def test_whatever_the_file_holds_it_is_read(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("noise") / "journal"
    path.write_bytes(noise)
    told = replay(path, BOOT)
    assert (told.entries, told.skipped) == ([], 0)
    assert told.cut_bytes <= len(noise)
    if noise.strip(b"\n"):
        assert told.cut_bytes


def line(fields: object) -> bytes:
    """Return a line whose check is right, whatever it says."""
    body = json.dumps(fields).encode()
    return b"%08x %s\n" % (crc32(body, crc32(BOOT.encode())), body)


WRONG = [
    {"found": []},
    {"found": [1, 2]},
    {"found": [1, "2", 3]},
    {"found": [1, 2, True]},
    {"found": [1, 2, 2**64]},
    {"found": list(range(9))},
    {"expected": None},
    {"intended": [1]},
    {"cookie": -1},
    {"cookie": "1"},
    {"cookie": 2**64},
    {"netns": 5},
    {"tunable": None},
    {"tunable": ""},
    {"changes": 1.5},
    {"earlier": 5},
    {"earlier": [5]},
    {"step": "gone", "cookie": []},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_makes_no_sense_is_left_out_though_its_check_is_right(
    path: Path, wrong: dict[str, object]
) -> None:
    begun(path).close()
    good = an_entry(RED).as_fields("is")
    bad = {**an_entry().as_fields("is"), **wrong}
    with path.open("ab") as file:
        file.write(line(bad) + line([bad]) + line(good))
    told = replay(path, BOOT)
    assert told.entries == [an_entry(RED)]
    assert told.skipped == 2


def test_a_name_of_any_bytes_comes_back(path: Path) -> None:
    names = [os.fsdecode(bytes([byte]) * 2) for byte in range(256) if byte]
    places = [Netns(NetnsCookie(n), name) for n, name in enumerate(names, 1)]
    begun(path, *[an_entry(netns).as_fields("is") for netns in places])
    assert [entry.netns for entry in replay(path, BOOT).entries] == places
    assert path.read_bytes().isascii()


@pytest.mark.parametrize(
    ("change", "number"), [("c17", 17), (None, 0), ("", 0), ("c", 0), ("x", 0)]
)
def test_the_number_of_a_change(change: str | None, number: int) -> None:
    assert serial_of(change) == number


# --- writes that fail ----------------------------------------------------------


class Disk:
    """``os`` on a disk with room for so many bytes more."""

    def __init__(self, room: int, *, can_cut: bool = True) -> None:
        self.room = room
        self.can_cut = can_cut

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def write(self, fd: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = os.write(fd, data[: min(self.room, 100)])  # never all at once
        self.room -= taken
        return taken

    def ftruncate(self, fd: int, size: int) -> None:
        if not self.can_cut:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.ftruncate(fd, size)


@pytest.mark.parametrize("can_cut", [True, False])
@pytest.mark.parametrize("room", [0, 1, 50, 250])
def test_a_line_that_finds_no_room_does_not_spoil_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int, *, can_cut: bool
) -> None:
    journal = begun(path)
    disk = Disk(1 << 20, can_cut=can_cut)
    monkeypatch.setattr(bpftune.journal, "os", disk)
    journal.append(an_entry().as_fields("applied"))
    disk.room = room
    for _ in range(2):
        with pytest.raises(JournalError, match="No space left on device"):
            journal.append(an_entry(RED).as_fields("intend"))
    assert replay(path, BOOT).entries == [an_entry()]
    disk.room = 1 << 20
    journal.append(an_entry(RED, change="c8").as_fields("applied"))
    told = replay(path, BOOT)
    assert told.entries == [an_entry(), an_entry(RED, change="c8")]
    assert told.cut_bytes == 0
    assert told.skipped == (not can_cut and room > 0)


def test_a_journal_that_cannot_be_written_anew_goes_on_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begun(path, an_entry().as_fields("is"))
    before = path.read_bytes()
    disk = Disk(200)
    monkeypatch.setattr(bpftune.journal, "os", disk)
    with pytest.raises(JournalError):
        journal.rewrite([an_entry(RED).as_fields("is")], 0)
    assert path.read_bytes() == before
    disk.room = 1 << 20
    journal.append(an_entry(RED).as_fields("applied"))
    assert len(replay(path, BOOT).entries) == 2


def test_nothing_is_appended_before_it_was_begun(path: Path) -> None:
    with pytest.raises(JournalError, match="not begun"):
        Journal(path, BOOT).append(an_entry().as_fields("applied"))
    assert not path.exists()


# --- size ----------------------------------------------------------------------


def test_it_asks_to_be_written_anew_before_it_grows_without_bounds(path: Path) -> None:
    journal = begun(path)
    appended = 0
    while not journal.is_long:
        journal.append(an_entry().as_fields("applied"))
        appended += 1
    assert LONG_BYTES < path.stat().st_size < LONG_BYTES + 1000
    journal.rewrite([an_entry().as_fields("is")], 70)
    assert not journal.is_long
    assert path.stat().st_size < 1000
    assert replay(path, BOOT) == Replayed([an_entry()], serial=70)


def test_thousands_of_entries_are_no_reason_to_write_it_anew_at_each_step(
    path: Path,
) -> None:
    many = [Tunable(f"net.ipv4.number{number}") for number in range(2000)]
    lines = [replace(an_entry(), tunable=one).as_fields("is") for one in many]
    journal = begun(path, *lines)
    assert not journal.is_long
    assert len(replay(path, BOOT).entries) == len(many)
