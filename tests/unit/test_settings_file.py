"""The file of settings that are the admin's: whole, torn, or somebody's invention."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune import settings_file
from bpftune.journal import Journal, JournalError, Replayed
from bpftune.model import NetnsCookie
from bpftune.setting import Setting
from bpftune.settings_file import MOST_TEXT, SettingsFile, fields_of, setting_from
from tests.unit.fakes import BLUE, HOST, RED

DEFAULT = "net.ipv4.tcp_congestion_control"
BOOT = "boot"
TAKEN = Setting(RED, DEFAULT, "congestion", "reno", "uid 0 (sh) set it", uid=0)
ALSO = Setting(BLUE, DEFAULT, "congestion", "bbr", "somebody set it")
BY_FILE = Setting(HOST, DEFAULT, "congestion", "bbr", "a line sets it", by_file=True)
NOBODYS = Setting(RED, "net.core.default_qdisc", "other", "fq")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings"


def begun(path: Path, *settings: Setting) -> SettingsFile:
    file = SettingsFile(path, BOOT)
    file.catch_up(settings)
    return file


def read(path: Path, boot: str = BOOT) -> list[Setting]:
    return SettingsFile(path, boot).read()[0]


def test_what_counts_is_read_again_whole(path: Path) -> None:
    begun(path, TAKEN, BY_FILE, NOBODYS, ALSO).close()
    assert read(path) == [TAKEN, ALSO]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_file_is_no_trouble(path: Path) -> None:
    assert SettingsFile(path, BOOT).read() == ([], Replayed())
    assert not path.exists()


def test_the_last_line_of_a_setting_counts(path: Path) -> None:
    file = begun(path)
    file.note(TAKEN, ())
    file.note(ALSO, ())
    assert read(path) == [TAKEN, ALSO]
    given_back = Setting(RED, DEFAULT, "congestion", "reno")
    file.note(given_back, ())
    assert read(path) == [ALSO]
    file.note(TAKEN, ())
    assert read(path) == [ALSO, TAKEN]
    file.gone(BLUE.cookie, ())
    assert read(path) == [TAKEN]


def test_another_boots_file_does_not_count(path: Path) -> None:
    begun(path, TAKEN)
    assert read(path, "another") == []
    begun(path)
    assert read(path) == []


def test_a_file_of_which_nothing_was_read_is_left_until_it_is_written(
    path: Path,
) -> None:
    begun(path, TAKEN)
    file = SettingsFile(path, BOOT)
    assert file.read()[0] == [TAKEN]
    assert read(path) == [TAKEN]
    file.note(ALSO, [TAKEN, ALSO])
    assert read(path) == [TAKEN, ALSO]


@pytest.mark.parametrize("keep", range(0, 400, 7))
def test_a_torn_file_has_all_that_came_before(path: Path, keep: int) -> None:
    begun(path, TAKEN, ALSO)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    lines = whole[:keep].count(b"\n")
    settings, told = SettingsFile(path, BOOT).read()
    assert settings == [TAKEN, ALSO][: max(0, lines - 1)]
    assert bool(told.damage) == (whole[:keep][-1:] not in {b"", b"\n"})


def test_a_flipped_bit_costs_its_line_only(path: Path) -> None:
    begun(path, TAKEN, ALSO)
    data = bytearray(path.read_bytes())
    data[data.index(b"uid 0")] ^= 1
    path.write_bytes(data)
    settings, told = SettingsFile(path, BOOT).read()
    assert settings == [ALSO]
    assert told.skipped == 1


FIELDS = fields_of(TAKEN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "else"},
        {"cookie": -1},
        {"cookie": "2"},
        {"cookie": 2**64},
        {"cookie": True},
        {"netns": 7},
        {"name": ""},
        {"name": None},
        {"name": "x" * (MOST_TEXT + 1)},
        {"tuner": []},
        {"text": {}},
        {"why": ""},
        {"why": 1},
        {"uid": 1.5},
        {"uid": "root"},
        {"comm": "x" * 17},
        {"comm": "\u20ac"},
        {"comm": 5},
    ],
)
def test_a_line_that_cannot_be_is_left_out(path: Path, wrong: dict[str, Any]) -> None:
    journal = Journal(path, BOOT)
    journal.rewrite([{**FIELDS, **wrong}, fields_of(ALSO)], 0)
    settings, told = SettingsFile(path, BOOT).read()
    assert settings == [ALSO]
    assert told.skipped == 1


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_a_line_that_lacks_something_is_left_out(path: Path, field: str) -> None:
    journal = Journal(path, BOOT)
    lacking = {name: FIELDS[name] for name in FIELDS if name != field}
    journal.rewrite([lacking, {"step": "gone"}], 0)
    assert read(path) == []


def test_so_many_are_read_and_no_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_file, "MOST_READ", 1)
    begun(path, TAKEN, ALSO)
    assert read(path) == [TAKEN]


def test_a_file_that_cannot_be_read_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError):
        read(path)


def test_what_could_not_be_written_is_when_it_can(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "settings"
    file = begun(path, TAKEN)
    assert "No such file" in file.trouble
    file.note(ALSO, [TAKEN, ALSO])
    assert file.trouble
    path.parent.mkdir()
    file.catch_up([TAKEN, ALSO])
    assert not file.trouble
    assert read(path) == [TAKEN, ALSO]


def test_a_line_that_found_no_room_is_written_with_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = begun(path)

    def full(*_: object) -> None:
        raise JournalError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "append", full)
        file.note(TAKEN, [TAKEN])
    assert file.trouble == "No space left on device"
    file.note(ALSO, [TAKEN, ALSO])
    assert read(path) == [TAKEN, ALSO]
    assert not file.trouble


def test_the_file_stays_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpftune.journal.LONG_BYTES", 2048)
    file = begun(path)
    for number in range(200):
        file.note(Setting(RED, DEFAULT, "x", "reno", f"time {number}"), [TAKEN])
    assert path.stat().st_size < 4096
    assert read(path)[-1].netns == RED


def test_a_link_in_its_place_is_replaced_and_not_followed(
    path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    path.symlink_to(other)
    begun(path, TAKEN)
    assert other.read_text() == "mine"
    assert not path.is_symlink()


@given(
    st.builds(
        Setting,
        netns=st.sampled_from([RED, BLUE]),
        name=st.text(min_size=1, max_size=64),
        tuner=st.text(max_size=16),
        text=st.text(max_size=64),
        why=st.text(min_size=1, max_size=64),
        uid=st.none() | st.integers(0, 2**32 - 1),
        comm=st.binary(max_size=16),
    )
)
def test_any_setting_is_the_same_after_all(setting: Setting) -> None:
    assert setting_from(fields_of(setting)) == setting


def test_a_name_that_is_no_utf8_comes_back(path: Path) -> None:
    odd = Setting(RED, DEFAULT, "x", "a\udcffb", "set to a\\xffb")
    begun(path, odd)
    assert read(path) == [odd]
    assert NetnsCookie(2) == read(path)[0].netns.cookie
