from __future__ import annotations

import os
import random
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bpftune.control.client import MOST_UNREAD_BYTES, PATIENCE_S
from bpftune.control.framing import MOST_BYTES, reply
from bpftune.control.server import MOST_CLIENTS, Server
from bpftune.kernel.errors import KernelError
from tests.unit.control.rig import PIECE, Echo, Peeking, Rig
from tests.unit.fakes import Clock

NOBODY = 65534


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def answers(client: Peeking) -> bool:
    client.call("t.Ping", parameters={"n": 1})
    return bool(client.next()["parameters"]["method"] == "t.Ping")


# --- the socket --------------------------------------------------------------


def test_everybody_may_connect(rig: Rig) -> None:
    assert stat.S_IMODE(rig.path.stat().st_mode) == 0o666
    assert answers(rig.connect())


def test_takes_the_place_of_the_socket_of_a_daemon_that_was_killed(
    tmp_path: Path,
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "control"))
    rig = Rig(tmp_path)
    try:
        assert answers(rig.connect())
    finally:
        rig.close()
    assert not rig.path.exists()


def test_never_removes_what_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("mine")
    with pytest.raises(KernelError, match="cannot listen"):
        Server(tmp_path / "control", Echo())
    assert (tmp_path / "control").read_text() == "mine"


def test_a_path_that_is_too_long_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="cannot listen"):
        Server(tmp_path / ("x" * 150), Echo())


def test_can_be_closed_twice(rig: Rig) -> None:
    rig.server.close()
    rig.server.close()


# --- calls -------------------------------------------------------------------


def test_answers_calls_in_turn_even_when_sent_at_once(rig: Rig) -> None:
    client = rig.connect()
    client.send(b'{"method":"t.A"}\0{"method":"t.B"}\0{"method":"t.C"}\0')
    told = [client.next()["parameters"]["method"] for _ in range(3)]
    assert told == ["t.A", "t.B", "t.C"]


def test_takes_a_request_byte_by_byte(rig: Rig) -> None:
    client = rig.connect()
    for byte in b'{"method":"t.A","parameters":{"text":"caf\xc3\xa9"}}\0':
        client.send(bytes([byte]))
        rig.server.turn()
    assert client.next()["parameters"]["parameters"] == {"text": "café"}


def test_an_error_is_answered_and_the_connection_lives(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Fail")
    assert client.next() == {"error": "t.Failed", "parameters": {"why": "told to"}}
    assert answers(client)


def test_what_is_oneway_is_done_and_not_answered(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.A", oneway=True)
    client.call("t.Fail", oneway=True)
    client.call("t.B")
    assert client.next()["parameters"]["method"] == "t.B"
    assert [call.method for call in rig.service.calls] == ["t.A", "t.Fail", "t.B"]


def test_a_long_answer_leaves_time_for_others(rig: Rig) -> None:
    slow, quick = rig.connect(), rig.connect()
    slow.call("t.Long", parameters={"steps": 10**9})
    rig.server._clock = Passing()
    rig.server.turn()
    before = rig.service.steps
    assert before > 0
    assert answers(quick)
    assert not slow.has_message()


class Passing(Clock):
    """Each look at this clock takes a millisecond, so that a turn has an end."""

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


def test_an_answer_ends_when_its_client_goes(rig: Rig) -> None:
    client = rig.connect()
    rig.server._clock = Passing()
    client.call("t.Long", parameters={"steps": 10**9})
    rig.server.turn()
    client.socket.close()
    rig.pass_time(0)
    rig.server.close()
    assert rig.service.closed == 1


def test_a_big_answer_is_sent_as_it_is_read(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Big", parameters={"bytes": 4 << 20})
    assert len(client.next()["parameters"]["text"]) == 4 << 20
    assert answers(client)


def test_an_answer_is_made_as_it_is_read(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Long", parameters={"pieces": 1000})
    rig.until(lambda: rig.service.steps > 1)
    for _ in range(100):
        rig.server.turn()
    ahead = rig.service.steps
    assert ahead < 100  # what a socket takes
    while not client.has_message():
        read = len(client.heard) // len(PIECE)
        rig.server.turn()
        assert rig.service.steps <= read + ahead
    assert rig.service.steps == 1000
    assert client.next()["parameters"]["method"] == "t.Long"
    assert answers(client)


def test_others_are_answered_while_one_does_not_read(rig: Rig) -> None:
    client, other = rig.connect(), rig.connect()
    client.call("t.Long", parameters={"pieces": 1000})
    rig.until(lambda: rig.service.steps > 1)
    assert answers(other)


def test_who_does_not_read_on_is_cut_off_and_the_answer_ends(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Long", parameters={"pieces": 1000})
    rig.until(lambda: rig.service.steps > 1)
    rig.pass_time(PATIENCE_S / 2)
    assert rig.server.client_count == 1
    rig.pass_time(PATIENCE_S)
    assert rig.server.client_count == 0
    assert rig.service.closed == 1
    assert client.was_cut_off()


def test_an_answer_that_breaks_off_ends_the_connection(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Break", parameters={"pieces": 3})
    rig.until(client.was_cut_off)
    assert not client.has_message()
    assert rig.server.client_count == 0
    assert answers(rig.connect())


# --- those who misbehave -------------------------------------------------------


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_silent_clients_make_room_for_one_who_asks(rig: Rig, uid: int) -> None:
    silent = [rig.connect(uid) for _ in range(64)]
    client = rig.connect(1000)
    assert answers(client)
    assert rig.server.client_count == MOST_CLIENTS
    gone = [one for one in silent if one.was_cut_off()]
    assert gone == silent[: 64 - MOST_CLIENTS + 1]


def test_whoever_takes_most_places_loses_them_and_not_the_others(rig: Rig) -> None:
    root, other = rig.connect(0), rig.connect(1000)
    rig.pass_time(60)
    flood = [rig.connect(NOBODY) for _ in range(64)]
    assert not root.was_cut_off()
    assert not other.was_cut_off()
    assert sum(not one.was_cut_off() for one in flood) == MOST_CLIENTS - 2
    assert answers(root)
    assert answers(other)


def test_a_crowd_of_users_does_not_push_out_the_admin(rig: Rig) -> None:
    root = rig.connect(0)
    rig.pass_time(60)
    for uid in range(100_000, 100_064):
        rig.connect(uid)
    assert answers(root)


def test_a_request_of_a_megabyte_is_cut_off(rig: Rig) -> None:
    client = rig.connect()
    client.send(b'{"method":"' + b"x" * (1 << 20))
    rig.until(client.was_cut_off)
    assert not rig.service.calls
    assert answers(rig.connect())


def test_the_longest_request_that_is_allowed_is_answered(rig: Rig) -> None:
    client = rig.connect()
    start, end = b'{"method":"t.A","parameters":{"text":"', b'"}}'
    text = b"x" * (MOST_BYTES - 1 - len(start) - len(end))
    client.send(start + text + end + b"\0")
    assert client.next()["parameters"]["parameters"]["text"] == text.decode()
    client.send(start + text + b"x" + end + b"\0")
    rig.until(client.was_cut_off)


def test_garbage_is_cut_off(rig: Rig) -> None:
    chance = random.Random(1)
    for _ in range(200):
        client = rig.connect()
        client.send(chance.randbytes(chance.randrange(1, 500)) + b"\0")
        rig.until(client.was_cut_off)
    assert not rig.service.calls
    assert answers(rig.connect())


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"[]", b"1", b'"x"', b"{}", b'{"method":1}', b'{"method":""}'),
        *(b'{"method":"t.A","parameters":[]}', b'{"method":"t.A","more":1}'),
        *(b"[" * 60_000, b'{"method":"t.A","oneway":"yes"}', b"9" * 60_000),
    ],
)
def test_json_that_is_no_call_is_cut_off(rig: Rig, message: bytes) -> None:
    client = rig.connect()
    client.send(message + b"\0")
    rig.until(client.was_cut_off)
    assert not rig.service.calls


def test_a_request_that_does_not_end_is_cut_off_in_time(rig: Rig) -> None:
    client, other = rig.connect(), rig.connect()
    client.send(b'{"method"')
    due_s = rig.server.turn()
    assert due_s == rig.clock.now_s + PATIENCE_S
    for _ in range(10):  # a byte now and then is no excuse
        rig.pass_time(PATIENCE_S / 11)
        client.send(b" ")
        rig.server.turn()
    assert not client.was_cut_off()
    rig.pass_time(PATIENCE_S / 2)
    assert client.was_cut_off()
    assert not other.was_cut_off()


def test_who_asked_for_nothing_may_stay_as_long_as_there_is_room(rig: Rig) -> None:
    client = rig.connect()
    assert rig.server.turn() == float("inf")
    rig.pass_time(1_000_000)
    assert answers(client)
    assert rig.server.turn() == float("inf")


def test_who_does_not_read_the_answer_is_cut_off(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Big", parameters={"bytes": 4 << 20})
    rig.server.turn()
    rig.server.turn()
    rig.pass_time(PATIENCE_S + 0.1)
    assert rig.server.client_count == 0


def test_requests_that_are_not_waited_for_take_no_memory(rig: Rig) -> None:
    """What comes while an answer waits to be read stays in the kernel."""
    client = rig.connect()
    client.call("t.Big", parameters={"bytes": 4 << 20})
    rig.server.turn()
    taken_bytes = 0
    with suppress(BlockingIOError):
        while taken_bytes < 64 << 20:
            taken_bytes += client.socket.send(b'{"method":"t.A"}\0' * 1000)
            rig.server.turn()
    assert taken_bytes < 1 << 20
    assert len(rig.service.calls) == 1


# --- those who watch -----------------------------------------------------------


def record(text: str) -> bytes:
    return reply({"record": {"why": text}}, continues=True)


def test_who_watches_hears_each_record(rig: Rig) -> None:
    client, other = rig.connect(), rig.connect()
    assert not rig.server.has_watchers
    client.call("t.Watch", more=True)
    rig.until(lambda: rig.server.has_watchers)
    for number in range(100):
        rig.server.send_to_watchers(lambda _trusted, n=number: record(f"{n}"))  # type: ignore[misc]
    heard = [client.next() for _ in range(100)]
    assert [one["parameters"]["record"]["why"] for one in heard] == [
        str(number) for number in range(100)
    ]
    assert all(one["continues"] for one in heard)
    assert not other.has_message()


def test_a_watcher_is_told_what_it_may_know(rig: Rig) -> None:
    root, nobody = rig.connect(0), rig.connect(NOBODY)
    for client in (root, nobody):
        client.call("t.Watch", more=True)
    rig.until(lambda: sum(one.watches for one in rig.server._clients) == 2)
    rig.server.send_to_watchers(lambda trusted: record("all" if trusted else "some"))
    assert root.next()["parameters"]["record"]["why"] == "all"
    assert nobody.next()["parameters"]["record"]["why"] == "some"


def test_a_watcher_that_does_not_read_is_cut_off(rig: Rig) -> None:
    client, reader = rig.connect(), rig.connect()
    for one in (client, reader):
        one.call("t.Watch", more=True)
    rig.until(lambda: sum(one.watches for one in rig.server._clients) == 2)
    line = record("x" * 1000)
    sent = 0
    while rig.server.client_count == 2:
        rig.server.send_to_watchers(lambda _trusted: line)
        reader.listen()
        sent += len(line)
        assert sent < 16 * MOST_UNREAD_BYTES
    assert rig.server.has_watchers
    assert not reader.was_cut_off()


def test_a_watcher_that_goes_is_forgotten(rig: Rig) -> None:
    client = rig.connect()
    client.call("t.Watch", more=True)
    rig.until(lambda: rig.server.has_watchers)
    client.socket.close()
    rig.until(lambda: rig.server.client_count == 0)
    rig.server.send_to_watchers(lambda _trusted: record("x"))


# --- who it is -------------------------------------------------------------------


def test_the_kernel_says_who_it_is(rig: Rig) -> None:
    client = rig.connect()
    assert answers(client)
    assert rig.service.trusted == [os.geteuid() == 0]


def test_root_and_the_group_are_trusted_and_nobody_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path, group=977)
    try:
        for uid in (0, 977, NOBODY, 1000):
            assert answers(rig.connect(uid))
        assert rig.service.trusted == [True, True, False, False]
    finally:
        rig.close()


def test_whoever_asked_before_it_was_accepted_is_answered_in_that_turn(
    rig: Rig,
) -> None:
    client = Peeking(rig)
    try:
        client.call("t.Ask")
        rig.server.turn()
        client.listen()
        reply = client.take()
        assert reply is not None
        assert reply["parameters"]["method"] == "t.Ask"
    finally:
        client.socket.close()
