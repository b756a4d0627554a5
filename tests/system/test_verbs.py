"""The verbs that ask a real daemon, from the installed command's point of view."""

from __future__ import annotations

import json
import select
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.pace import patient
from tests.system.conftest import Start
from tests.system.daemon import WMEM, Daemon, command, environment, value
from tests.system.paths import SMALL, path, wait_busy
from tests.unit.cli.schemas import check

from bpftune.cli.errors import ExitCode
from bpftune.lab.namespaces import Namespace
from bpftune.lab.network import Lab
from bpftune.lab.traffic import Bulk


def ask(
    daemon: Daemon, *words: str, code: int = 0, more: Mapping[str, str] | None = None
) -> str:
    """Run ``bpftune WORDS`` beside *daemon*; return what it printed."""
    may_be_degraded = daemon.lacks and words[0] == "status" and code == ExitCode.OK
    answer = subprocess.run(
        command(*words),
        env=environment(daemon.run_dir, more),
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(60),
    )
    # What this kernel lacks is told by the exit code of status as well.
    expected = {code, ExitCode.DEGRADED} if may_be_degraded else {code}
    assert answer.returncode in expected, (words, answer.stdout, answer.stderr)
    return answer.stdout


def told(daemon: Daemon, *words: str, code: int = 0) -> Any:
    """Return what a verb answers with --json, as its schema has it."""
    answer = json.loads(ask(daemon, *words, "--json", code=code))
    check(words[0], answer)
    return answer


def tuned(lab: Lab, start: Start) -> tuple[Daemon, Namespace, str]:
    """Return a daemon, a namespace where a change of its is kept, and the change."""
    sender, link = path(lab)
    flows = lab.traffic(link, Bulk())
    wait_busy(flows)
    daemon = start()
    kept = daemon.wait_kind("kept", sender, 40)
    flows.stop()
    return daemon, sender, kept["change"]


@pytest.mark.slow
def test_look_explain_undo(lab: Lab, start: Start) -> None:
    daemon, sender, change = tuned(lab, start)
    # A trial that follows is settled first; then nothing moves.
    assert told(daemon, "pause", "tcp_buffer")["paused"] == ["tcp_buffer"]
    status = told(daemon, "status")
    assert status["mode"] == "tune"
    assert [one["netns"]["name"] for one in status["in_force"]] == [sender.name]
    assert status["in_force"][0]["found"] == list(SMALL)
    text = ask(daemon, "status")
    assert f"bpftune rollback {status['in_force'][0]['change']}" in text
    assert "paused" in text

    kinds = [one["record"] for one in told(daemon, "history")["records"]]
    assert kinds.index("change") < kinds.index("kept")
    only = told(daemon, "history", "--netns", sender.name, "--limit", "1")
    assert len(only["records"]) == 1
    told(daemon, "explain", change)
    story = ask(daemon, "explain", change)
    for word in ("tried", "kept", "held back", "rose", "proved", "sysctl -w"):
        assert word in story
    assert told(daemon, "explain", "tcp_wmem")["tunables"]
    assert "at this level it paid in" in ask(daemon, "explain", WMEM)
    assert told(daemon, "explain", "10.77.0.0/24")["records"]
    assert told(daemon, "verify")["drift"] == []
    assert told(daemon, "advise")["advice"] == []
    assert told(daemon, "metrics")["text"].endswith("# EOF\n")

    before = value(sender)
    (step,) = told(daemon, "rollback", change, "--dry-run")["steps"]
    assert (step["action"], step["now"], step["new"]) == ("set", before, list(SMALL))
    assert value(sender) == before
    told(daemon, "rollback", "--tunable", "tcp_wmem", "--netns", sender.name)
    assert value(sender) == list(SMALL)
    daemon.wait_kind("rolled_back", sender, 5)
    (adopted,) = told(daemon, "adopt", WMEM, "--netns", sender.name)["tunables"]
    assert adopted["found"] == list(SMALL)
    assert told(daemon, "resume")["paused"] == []

    assert told(daemon, "persist", "--dry-run", "--file", "x")["values"] == {}
    for wrong in (("explain", "c999"), ("rollback", "c999"), ("apply", "zz")):
        ask(daemon, *wrong, code=1)


@pytest.mark.slow
def test_undo_after_a_kill(lab: Lab, start: Start) -> None:
    daemon, sender, change = tuned(lab, start)
    assert value(sender) != list(SMALL)
    daemon.send(signal.SIGKILL)
    daemon.process.wait(patient(10))
    ask(daemon, "status", code=3)
    assert told(daemon, "explain", change)["records"]
    (step,) = told(daemon, "rollback", "--all", "--dry-run")["steps"]
    assert step["action"] == "set"
    assert value(sender) != list(SMALL)
    told(daemon, "rollback", "--all")
    assert value(sender) == list(SMALL)
    last = told(daemon, "history", "--netns", sender.name)["records"][-1]
    assert last["record"] == "rolled_back"
    assert told(daemon, "rollback", "--all")["steps"] == []


@pytest.mark.slow
def test_advice_is_done_or_ignored(lab: Lab, start: Start) -> None:
    sender, link = path(lab)
    wait_busy(lab.traffic(link, Bulk()))
    daemon = start(verb="observe")
    daemon.wait_kind("advice", sender, 20)
    (advice,) = told(daemon, "advise", code=6)["advice"]
    assert advice["netns"]["name"] == sender.name
    assert value(sender) == list(SMALL)
    told(daemon, "ignore", advice["id"])
    assert told(daemon, "advise")["advice"] == []
    assert told(daemon, "advise", "--all")["advice"][0]["ignored"]
    record = told(daemon, "apply", advice["id"])["record"]
    assert record["record"] == "change"
    assert value(sender) == advice["new"]


def test_watch_tells_as_it_happens(start: Start) -> None:
    daemon = start()
    with subprocess.Popen(
        command("watch", "--json"),
        env=environment(daemon.run_dir),
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        try:
            assert watching.stdout is not None
            # Nothing tells that it listens but what it hears.
            for _ in range(20):
                ask(daemon, "pause")
                if select.select([watching.stdout], [], [], 1.0)[0]:
                    break
                ask(daemon, "resume")
            record = json.loads(watching.stdout.readline())
            check("watch", record)
            assert record["record"] in {"paused", "resumed"}
        finally:
            watching.send_signal(signal.SIGINT)
            watching.wait(patient(10))
    assert watching.returncode == 130


def test_who_is_not_root_may_look_but_not_touch(start: Start) -> None:
    daemon = start()
    Path(daemon.run_dir).chmod(0o755)

    def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
        code = (
            # Whoever gives up root may not reach Python's own files any more.
            "import os, sys\n"
            "from bpftune.cli import hands, main, names, status, undo, verbs\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "sys.exit(main(sys.argv[1:]))\n"
        )
        return subprocess.run(
            [*command()[:1], "-c", code, *words],
            env=environment(daemon.run_dir),
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(60),
        )

    degraded = ExitCode.DEGRADED if daemon.lacks else ExitCode.OK
    assert as_nobody("status", "--json").returncode == degraded
    for words in (["rollback", "--all"], ["pause"], ["adopt", "tcp_wmem"]):
        answer = as_nobody(*words)
        assert answer.returncode == 4, (words, answer)
        assert "try it as root" in answer.stderr.lower()
