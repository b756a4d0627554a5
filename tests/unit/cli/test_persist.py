from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.served import HOST, STATUS, TUNABLE, WEB, YIELDED, Served

from bpftune.cli import main
from bpftune.cli.errors import ExitCode
from bpftune.cli.persist import text_of, values_in, wanted
from bpftune.kernel.sysctl_files import PERSISTED, is_persisted, read_files

WMEM = "net.ipv4.tcp_wmem"
RMEM = "net.ipv4.tcp_rmem"
TEXT = "4096 16384 8388608"


def status(in_force: list[dict[str, Any]], yielded: Any = ()) -> dict[str, Any]:
    return {**STATUS, "in_force": in_force, "yielded": list(yielded)}


def test_keeps_what_is_in_force_on_the_host() -> None:
    in_web = {**TUNABLE, "netns": WEB, "tunable": RMEM}
    assert wanted(status([TUNABLE, in_web]), {}) == {WMEM: TEXT}


def test_what_is_on_trial_is_not_proved() -> None:
    trial = {**TUNABLE, "state": "trial", "expected": [4096, 16384, 16 << 20]}
    assert wanted(status([trial]), {}) == {WMEM: TEXT}
    first = {**trial, "settled": trial["found"]}
    assert wanted(status([first]), {}) == {}


def test_what_a_reboot_applied_stays_unless_it_is_the_admins_now() -> None:
    before = {RMEM: "1 2 3", WMEM: "4 5 6"}
    assert wanted(status([TUNABLE]), before) == {RMEM: "1 2 3", WMEM: TEXT}
    mine = {**YIELDED, "netns": HOST, "tunable": RMEM}
    assert wanted(status([TUNABLE], [mine]), before) == {WMEM: TEXT}
    elsewhere = {**mine, "netns": WEB}
    assert RMEM in wanted(status([TUNABLE], [elsewhere]), before)


@given(
    st.dictionaries(
        st.from_regex(r"net\.(ipv4|core)\.[a-z_]{1,20}", fullmatch=True),
        st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=3).map(
            lambda numbers: " ".join(map(str, numbers))
        ),
        max_size=4,
    )
)
@settings(max_examples=25)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    file = root / "etc/sysctl.d/90-bpftune.conf"
    file.parent.mkdir(parents=True)
    file.write_text(text_of(values))
    assert values_in(file) == values
    assert read_files(root).admins == {}


@pytest.mark.usefixtures("daemon")
def test_writes_a_file_that_is_no_admins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "90-bpftune.conf"
    assert main(["persist", "--dry-run", "--file", str(file)]) == 0
    assert not file.exists()
    assert "would keep 1 value" in capsys.readouterr().out
    assert main(["persist", "--file", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file} keeps 1 value over a reboot:",
        f"  {WMEM} = {TEXT}",
    ]
    assert file.read_text().splitlines()[0] == PERSISTED
    assert file.read_text().splitlines()[-1] == f"{WMEM} = {TEXT}"
    assert file.stat().st_mode & 0o7777 == 0o644
    assert list(file.parent.iterdir()) == [file]
    assert main(["persist", "--json", "--file", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == {
        WMEM: [4096, 16384, 8388608]
    }


def test_with_nothing_left_to_keep_the_file_goes(
    daemon: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers["Status"] = {"parameters": status([], [{**YIELDED, "netns": HOST}])}
    file = tmp_path / "x.conf"
    assert main(["persist", "--file", str(file)]) == 0
    assert not file.exists()
    file.write_text(text_of({WMEM: TEXT}))
    assert main(["persist", "--dry-run", "--file", str(file)]) == 0
    assert file.exists()
    assert "would be removed" in capsys.readouterr().out
    assert main(["persist", "--file", str(file)]) == 0
    assert not file.exists()
    assert "is removed" in capsys.readouterr().out


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    "text",
    [f"{WMEM} = 1 2 3\n", "", f"{PERSISTED}\n{WMEM} = a\n", f"{PERSISTED}\n-x\n"],
)
def test_what_somebody_else_wrote_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "x.conf"
    file.write_text(text)
    assert main(["persist", "--file", str(file)]) == ExitCode.FAILED
    assert "not of bpftune's making" in capsys.readouterr().err
    assert file.read_text() == text


@pytest.mark.usefixtures("daemon")
def test_a_directory_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / "file" / "x.conf"
    assert main(["persist", "--file", str(file)]) == ExitCode.FAILED
    assert f"{file}" in capsys.readouterr().err


def test_one_line_is_one_line() -> None:
    text = text_of({"net.x\nkernel.y": "1"})
    assert is_persisted(text)
    assert len(text.splitlines()) == len(text_of({"net.x": "1"}).splitlines())
