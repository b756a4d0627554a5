from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.cli.served import STATUS, Served

from bpftune.cli import client
from bpftune.cli.client import DaemonMissingError, NoSuchError, call, escaped, stream
from bpftune.cli.errors import CommandError, ExitCode


def test_asks_in_varlinks_framing(daemon: Served) -> None:
    assert call("Status") == STATUS
    call("Rollback", change="c17", tunable=None, dry_run=True)
    assert daemon.asked == [
        {"method": "io.bpftune.Status"},
        {
            "method": "io.bpftune.Rollback",
            "parameters": {"change": "c17", "dry_run": True},
        },
    ]


def test_a_stream_ends_with_the_reply_that_does_not_continue(daemon: Served) -> None:
    kinds = [reply["record"]["record"] for reply in stream("Watch")]
    assert kinds == ["change", "kept"]
    assert daemon.asked[0]["more"] is True


@pytest.mark.parametrize("stale", [False, True])
def test_without_a_daemon_says_how_to_start_it(run_dir: Path, stale: bool) -> None:
    if stale:  # a daemon that was killed leaves its socket behind
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(run_dir / "control"))
    with pytest.raises(DaemonMissingError) as told:
        call("Status")
    assert told.value.code == ExitCode.NO_DAEMON
    assert "systemctl start bpftune" in told.value.hint


def test_a_path_that_is_no_socket_address_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BPFTUNE_RUN_DIR", "/tmp/" + "x" * 200)
    with pytest.raises(CommandError, match="cannot reach the daemon"):
        call("Status")


@pytest.mark.parametrize(
    ("error", "parameters", "code", "text"),
    [
        ("io.bpftune.NotPermitted", {"why": "root only"}, 4, "root only"),
        ("io.bpftune.Refused", {"why": "it is the admin's"}, 4, "the admin's"),
        ("io.bpftune.Busy", {"why": "a trial is under way"}, 1, "under way"),
        (
            "io.bpftune.NoSuch",
            {"what": "record of c99"},
            1,
            "there is no record of c99",
        ),
        ("org.varlink.service.MethodNotFound", {"method": "x"}, 1, "another version"),
        ("io.odd.\x1b[31mOdd", {}, 1, r"\x1b[31mOdd"),
    ],
)
def test_what_the_daemon_refuses_has_its_exit_code(
    daemon: Served, error: str, parameters: dict[str, str], code: int, text: str
) -> None:
    daemon.refuse("Apply", error, **parameters)
    with pytest.raises(CommandError) as told:
        call("Apply", id="x")
    assert told.value.code == code
    assert text in str(told.value)
    assert isinstance(told.value, NoSuchError) == error.endswith("NoSuch")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "ended the connection"),
        (b'{"parameters": {', "ended the connection"),
        (b"garbage\0", "no JSON"),
        (b"\xff\0", "no JSON"),
        (b"[1]\0", "no object"),
        (b'{"parameters": [1]}\0', "no object"),
    ],
)
def test_an_odd_answer_is_an_error_not_a_crash(
    daemon: Served, answer: bytes, text: str
) -> None:
    daemon.answers["Status"] = answer
    with pytest.raises(CommandError, match=text):
        call("Status")


def test_an_endless_answer_is_cut(
    daemon: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 1000)
    daemon.answers["Status"] = b"x" * 100_000
    with pytest.raises(CommandError, match="too long"):
        call("Status")


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(run_dir / "control"))
        silent.listen()
        with pytest.raises(CommandError, match="did not answer"):
            call("Status")


@pytest.fixture
def crowded(run_dir: Path) -> Iterator[socket.socket]:
    """A daemon's socket at which so many wait that the kernel takes no more."""
    path = str(run_dir / "control")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(10)  # nobody waits for ever for who does not come
        listening.bind(path)
        listening.listen(1)
        with suppress(BlockingIOError):
            while True:
                with socket.socket(socket.AF_UNIX) as one:
                    one.setblocking(False)
                    one.connect(path)  # it counts until it is accepted, closed or not
        yield listening


def test_waits_its_turn_where_many_connect_at_once(crowded: socket.socket) -> None:
    def serve() -> None:
        heard = b""
        while not heard:
            with crowded.accept()[0] as one:
                if heard := one.recv(100):
                    one.sendall(b'{"parameters": {"mode": "tune"}}\0')

    with ThreadPoolExecutor() as threads:
        asked = threads.submit(call, "Status")
        with pytest.raises(TimeoutError):
            asked.result(timeout=0.2)
        threads.submit(serve)
        assert asked.result(timeout=10) == {"mode": "tune"}


@pytest.mark.usefixtures("crowded")
def test_does_not_wait_its_turn_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)
    with pytest.raises(CommandError, match="did not answer"):
        call("Status")


def test_metrics_keep_their_lines() -> None:
    text = "# TYPE x gauge\nx 1\n# EOF\n"
    assert escaped({"text": text}) == {"text": text}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON.filter(lambda thing: "# " not in json.dumps(thing)))
def test_nothing_that_comes_back_acts_upon_a_terminal(thing: object) -> None:
    text = json.dumps(escaped(thing), ensure_ascii=False)
    assert all(" " <= character <= "~" or character == "±" for character in text)
