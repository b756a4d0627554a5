from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.history import FILE_BYTES, FILES, History, last_change, read
from bpftune.model import Netns, NetnsCookie
from bpftune.records import Record, as_json
from bpftune.sink import Sink

WEB = Netns(NetnsCookie(428), "web")
BARE = Netns(NetnsCookie(77))
WMEM = "net.ipv4.tcp_wmem"
RMEM = "net.ipv4.tcp_rmem"


def numbered(number: int) -> Record:
    return Record("change", f"{number}", "tcp_buffer", change=f"c{number}")


def keep(directory: Path, *records: Record, now_unix: float = 0.0) -> None:
    """Let one daemon keep *records* and end."""
    history = History(directory)
    for record in records:
        assert history.write(record, now_unix), history.trouble
    history.close()


def whys(directory: Path) -> list[str]:
    return [told["why"] for told in read(directory)]


def test_what_was_told_is_read_back_in_order(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "state"
    keep(directory, numbered(1), numbered(2))
    keep(directory, numbered(3))
    told = list(read(directory))
    assert told == [json.loads(as_json(numbered(n), 0)) for n in (1, 2, 3)]


def test_only_root_reads_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keep(tmp_path / "state", numbered(1))
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    (file,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_is_touched_before_the_first_record(tmp_path: Path) -> None:
    History(tmp_path / "state").close()
    assert not (tmp_path / "state").exists()


def test_where_there_is_no_history_there_are_no_records(tmp_path: Path) -> None:
    assert list(read(tmp_path / "none")) == []


# --- rotated and capped ------------------------------------------------------


def test_the_latest_records_are_kept_and_the_size_is_capped(tmp_path: Path) -> None:
    history = History(tmp_path, file_bytes=1000, files=3)
    for number in range(200):
        assert history.write(numbered(number), 0)
    history.close()
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"history.jsonl", "history.jsonl.1", "history.jsonl.2"}
    assert all(0 < size <= 1000 for size in sizes.values())
    kept = [int(why) for why in whys(tmp_path)]
    assert kept == list(range(kept[0], 200))
    assert len(kept) >= 9


def test_one_file_is_enough(tmp_path: Path) -> None:
    history = History(tmp_path, file_bytes=1000, files=1)
    for number in range(50):
        assert history.write(numbered(number), 0)
    history.close()
    assert [path.name for path in tmp_path.iterdir()] == ["history.jsonl"]
    assert whys(tmp_path)[-1] == "49"


def test_all_files_have_about_8_mib() -> None:
    assert FILE_BYTES * FILES == 8 << 20


def test_a_record_larger_than_a_file_is_lost_and_told(tmp_path: Path) -> None:
    history = History(tmp_path, file_bytes=1000)
    assert not history.write(Record("kept", "x" * 2000), 0)
    assert "too large" in history.trouble
    assert history.write(numbered(1), 0)
    history.close()
    assert whys(tmp_path) == ["1"]


def test_files_that_move_up_while_they_are_read_hide_nothing(tmp_path: Path) -> None:
    history = History(tmp_path, file_bytes=1000, files=4)
    for number in range(12):
        assert history.write(numbered(number), 0)
    before = whys(tmp_path)
    reading = read(tmp_path)
    seen = [next(reading)["why"]]
    for number in range(12, 18):
        assert history.write(numbered(number), 0)
    history.close()
    seen += [told["why"] for told in reading]
    assert seen[: len(before)] == before
    assert len(seen) == len(set(seen))


# --- torn, tampered with -----------------------------------------------------


def test_a_tear_at_any_byte_costs_that_record_only(tmp_path: Path) -> None:
    keep(tmp_path, numbered(1), numbered(2))
    path = tmp_path / "history.jsonl"
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for cut in range(second, len(whole) + 1):
        path.write_bytes(whole[:cut])
        keep(tmp_path, numbered(3))
        reading = read(tmp_path)
        told = [one["why"] for one in reading]
        complete = cut >= len(whole) - 1
        assert told == (["1", "2", "3"] if complete else ["1", "3"])
        assert reading.skipped == (0 if complete or cut == second else 1)


@given(
    st.lists(
        st.binary(max_size=30)
        | st.sampled_from(
            [b"{}", b"[" * 5000, b"null", b"1e999", b'{"schema":1,"record":"kept"}']
        )
    )
)
def test_any_other_lines_are_skipped_and_counted(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    directory = tmp_path_factory.mktemp("state")
    garbage = b"\n".join(lines)
    ours = as_json(numbered(1), 0).encode()
    (directory / "history.jsonl").write_bytes(garbage + b"\n" + ours)
    reading = read(directory)
    assert [told["why"] for told in reading] == ["1"]
    assert reading.skipped == sum(bool(one.strip()) for one in garbage.split(b"\n"))


def test_records_of_another_schema_are_not_ours_to_understand(tmp_path: Path) -> None:
    line = as_json(numbered(1), 0)
    (tmp_path / "history.jsonl").write_text(line.replace('"schema": 1', '"schema": 2'))
    assert list(read(tmp_path)) == []


def test_a_history_that_was_removed_begins_anew(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.write(numbered(1), 0)
    (tmp_path / "history.jsonl").unlink()
    assert history.write(numbered(2), 0)
    history.close()
    assert whys(tmp_path) == ["2"]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "shadow"
    elsewhere.write_text("precious")
    (tmp_path / "history.jsonl").symlink_to(elsewhere)
    history = History(tmp_path)
    assert not history.write(numbered(1), 0)
    history.close()
    assert elsewhere.read_text() == "precious"


# --- what is asked for -------------------------------------------------------


def test_records_are_found_by_time_tunable_and_namespace(tmp_path: Path) -> None:
    keep(tmp_path, Record("started", "a"), now_unix=1000.0)
    keep(tmp_path, Record("change", "b", "t", WMEM, WEB), now_unix=2000.5)
    keep(tmp_path, Record("change", "c", "t", RMEM, BARE), now_unix=3000.0)

    def found(
        since_unix: float | None = None,
        tunable: str | None = None,
        netns: str | None = None,
    ) -> str:
        return "".join(
            told["why"] for told in read(tmp_path, since_unix, tunable, netns)
        )

    assert found() == "abc"
    assert found(since_unix=2000.5) == "bc"
    assert found(since_unix=2000.6) == "c"
    assert found(since_unix=0) == "abc"
    assert found(tunable=WMEM) == "b"
    assert found(netns="web") == "b"
    assert found(netns="#77") == "c"
    assert found(netns="#428") == "b"
    assert found(netns="None") == ""
    assert found(2000, RMEM, "web") == ""


# --- disks that fail ---------------------------------------------------------


@contextmanager
def no_file_larger_than(n_bytes: int) -> Iterator[None]:
    """Let writes past *n_bytes* of a file be cut, and then fail."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_cut_short_costs_one_record(tmp_path: Path) -> None:
    history = History(tmp_path)
    assert history.write(numbered(1), 0)
    size = (tmp_path / "history.jsonl").stat().st_size
    with no_file_larger_than(size + 20):
        assert not history.write(numbered(2), 0)
        assert history.trouble.startswith(f"no history is kept in {tmp_path}: ")
        assert not history.write(numbered(3), 0)
    assert history.write(numbered(4), 0)
    history.close()
    assert history.trouble == ""
    reading = read(tmp_path)
    assert [told["why"] for told in reading] == ["1", "4"]
    assert reading.skipped == 1


def test_a_directory_that_cannot_be_is_told_once_and_tuning_is_told_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    history, well = History(tmp_path / "file" / "state"), History(tmp_path / "well")
    sink = Sink([history, well])
    for number in range(5):
        sink.write(numbered(number))
    sink.close()
    told = list(read(tmp_path / "well"))
    assert [one["why"] for one in told if one["record"] == "change"] == list("01234")
    (degraded,) = (one for one in told if one["record"] == "degraded")
    assert degraded["why"] == (
        f"no history is kept in {tmp_path / 'file' / 'state'}: Not a directory"
    )


def test_the_number_of_the_last_change_is_found_in_the_newest_file_that_has_one(
    tmp_path: Path,
) -> None:
    assert last_change(tmp_path) == 0
    history = History(tmp_path, file_bytes=600, files=3)
    for number in range(1, 8):
        assert history.write(replace(numbered(0), change=f"c{number}"), 0)
    found = []
    for number in range(12):
        found.append(last_change(tmp_path, files=3))
        # What a record says may look like an id, but quotes are escaped.
        record = Record("lost", f'"change": "c99" {number}', "x")
        assert history.write(record, 0)
    history.close()
    assert found[:3] == [7, 7, 7]
    assert sorted(set(found)) == [0, 7]  # it went with the oldest file
