from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.served import CHANGE, Served

from bpftune.cli import main


@pytest.mark.usefixtures("daemon")
def test_watch_says_the_sentences_with_the_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["watch"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "tcp_wmem max 4 MiB -> 8 MiB on the host (3 of 4 sockets" in first
    assert "Undo: sysctl -w" in first
    assert "kept on the host" in second
    assert first[2] == first[5] == ":"


def test_watch_tells_when_the_daemon_stops(
    daemon: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.answers["Watch"] = [{"parameters": {"record": CHANGE}, "continues": True}]
    assert main(["watch"]) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 1
    assert "ended the connection" in output.err


def test_an_interrupt_ends_it_quietly(run_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(20)
        listening.bind(str(run_dir / "control"))
        listening.listen()
        with subprocess.Popen(
            [sys.executable, "-m", "bpftune", "watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "BPFTUNE_RUN_DIR": str(run_dir)},
        ) as watching:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(20)
                assert connection.recv(1000).endswith(b"\0")
                watching.send_signal(signal.SIGINT)
                output, error = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert (output, error) == (b"", b"")


@pytest.mark.usefixtures("daemon")
def test_metrics_are_the_daemons_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    assert capsys.readouterr().out == "# TYPE bpftune_up gauge\n# EOF\n"
