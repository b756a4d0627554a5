"""Where records end up: with a real journald, a real rsyslogd, and full disks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pace import patient
from tests.system.admin import write
from tests.system.conftest import Start
from tests.system.daemon import OURS, WMEM, command, environment, wait_until
from tests.system.journal import Journal, why_not

from bpftune.history import read
from bpftune.kinds import KINDS
from bpftune.lab.network import Lab
from bpftune.records import Record, as_line
from bpftune.sink import Sink
from bpftune.syslog import SyslogTarget

CHOSEN = "4096 16384 100000"
COMM = b'\x1b[2J\n\xff"a"'
SHOWN = '\\x1b[2J\\x0a\\xff"a"'


# --- journald ----------------------------------------------------------------


@pytest.fixture
def journal() -> Iterator[Journal]:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    journal = Journal()
    yield journal
    journal.end()


@pytest.mark.parametrize("how", ["as a service", "without standard error"])
def test_the_journal_has_each_field(
    lab: Lab, journal: Journal, tmp_path: Path, how: str
) -> None:
    netns = lab.namespace("a")
    found = netns.sysctl(WMEM)
    environ = environment(tmp_path)
    with journal.stream() as stream:
        about = os.fstat(stream.fileno())
        environ["JOURNAL_STREAM"] = f"{about.st_dev}:{about.st_ino}"
        is_service = how == "as a service"
        process = subprocess.Popen(
            [*journal.prefix(), *command("run")],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream.fileno() if is_service else subprocess.DEVNULL,
        )
    try:
        started = journal.wait_for(KINDS["started"].message_id)
        write(netns, CHOSEN, comm=COMM)
        yielded = journal.wait_for(KINDS["yielded"].message_id)
    finally:
        process.terminate()
        process.wait(patient(10))
    stopped = journal.wait_for(KINDS["stopped"].message_id)
    for entry in (started, yielded, stopped):
        assert entry["_PID"] == str(process.pid)
        assert entry["_TRANSPORT"] == "journal"
        assert entry["BPFTUNE_MODE"] == "tune"
    assert started["PRIORITY"] == "6"
    ours = {name: text for name, text in yielded.items() if name.startswith("BPFTUNE_")}
    assert ours == {
        "BPFTUNE_TUNER": "tcp_buffer",
        "BPFTUNE_TUNABLE": WMEM,
        "BPFTUNE_NETNS": netns.name,
        "BPFTUNE_OLD": found.replace("\t", " "),
        "BPFTUNE_NEW": CHOSEN,
        "BPFTUNE_REASON": f"uid 0 ({SHOWN}) set it to {CHOSEN}",
        "BPFTUNE_BY_UID": "0",
        "BPFTUNE_BY_COMM": SHOWN,
        "BPFTUNE_MODE": "tune",
    }
    assert yielded["PRIORITY"] == "5"
    assert yielded["MESSAGE"].endswith(ours["BPFTUNE_REASON"])


# --- syslog ------------------------------------------------------------------

_RSYSLOG = """
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" UseSysTimeStamp="off")
template(name="json" type="list" option.jsonf="on") {{
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="program" name="programname" format="jsonf")
  property(outname="pid" name="procid" format="jsonf")
  property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
*.* action(type="omfile" file="{file}" template="json")
"""


@pytest.mark.skipif(
    shutil.which("rsyslogd") is None, reason="there is no rsyslogd here"
)
def test_rsyslog_reads_each_part(tmp_path: Path) -> None:
    socket, file = tmp_path / "log", tmp_path / "messages"
    (tmp_path / "conf").write_text(_RSYSLOG.format(socket=socket, file=file))
    process = subprocess.Popen(
        ["rsyslogd", "-n", "-f", tmp_path / "conf", "-i", tmp_path / "pid"],
        stderr=subprocess.PIPE,
    )
    sink = Sink([SyslogTarget(socket)])
    records = [Record(kind, "it pays: ±1%", "tcp_buffer") for kind in KINDS]
    try:
        assert wait_until(socket.exists, 10), process.communicate(timeout=patient(1))
        for record in records:
            sink.write(record)
        sink.close()

        def all_came() -> bool:
            return file.exists() and file.read_text().count("\n") >= len(KINDS)

        assert wait_until(all_came, 10)
    finally:
        process.terminate()
        process.communicate(timeout=patient(10))
    read_back = [json.loads(line) for line in file.read_text().splitlines()]
    came = [one for one in read_back if one["program"] == "bpftune"]
    assert [one["text"].strip() for one in came] == [as_line(one) for one in records]
    assert [int(one["severity"]) for one in came] == [
        kind.priority for kind in KINDS.values()
    ]
    assert {(one["facility"], int(one["pid"])) for one in came} == {
        ("daemon", os.getpid())
    }


# --- disks -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (
            "mount -t tmpfs -o size=4k none {0} && cat /dev/zero > {0}/full;"
            " test -s {0}/full",
            "No space left on device",
        ),
        ("mount -t tmpfs -o ro none {0}", "Read-only file system"),
    ],
)
def test_a_history_that_cannot_be_written_is_told_once_and_tuning_goes_on(
    lab: Lab, start: Start, tmp_path: Path, mount: str, problem: str
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    script = f'({mount.format(state)}) 2>/dev/null && exec "$@"'
    prefix = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh")
    # Where nothing is shared, mounts made later do not reach the daemon's own.
    spaces = [lab.namespace(name) for name in ("a", "b", "c")]
    daemon = start({"BPFTUNE_STATE_DIR": str(state)}, prefix)
    for netns in spaces:
        write(netns, CHOSEN)
        daemon.wait_kind("yielded", netns, 3)
    daemon.stop()
    told = [one["why"] for one in daemon.of_kind("degraded") if "history" in one["why"]]
    assert told == [f"no history is kept in {state}: {problem}"]
    assert daemon.of_kind("stopped")


def test_the_history_survives_a_kill_and_goes_on(lab: Lab, start: Start) -> None:
    netns = lab.namespace("a")
    assert netns.name.startswith(OURS)
    first = start()
    write(netns, CHOSEN)
    first.wait_kind("yielded", netns, 3)
    first.process.kill()
    first.process.wait()
    second = start()
    second.stop()
    told = [one["record"] for one in read(second.run_dir / "state")]
    wanted = ["started", "yielded", "started", "stopped"]
    assert [kind for kind in told if kind in wanted] == wanted
    (yielded,) = read(second.run_dir / "state", netns=netns.name)
    assert yielded["by_comm"] == "admin"
    assert yielded["by_uid"] == 0
