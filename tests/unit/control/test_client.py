from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from math import inf

import pytest

from bpftune.control.access import Peer
from bpftune.control.client import PATIENCE_S, Client, GoneError, peer_of

Pair = tuple[Client, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    client = Client(ours, Peer(1000, 1000), 100.0)
    yield client, theirs
    client.close()
    theirs.close()


def test_the_other_end_is_who_the_kernel_says(pair: Pair) -> None:
    peer = peer_of(pair[1])
    assert (peer.uid, peer.gid) == (os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())


def test_a_request_has_to_come_in_time(pair: Pair) -> None:
    client, theirs = pair
    assert client.due_s == inf
    theirs.send(b"{")
    client.read(101.0)
    assert client.due_s == 101.0 + PATIENCE_S
    theirs.send(b"}")
    client.read(102.0)
    assert client.due_s == 101.0 + PATIENCE_S
    theirs.send(b"\0")
    client.read(102.5)
    assert client.next_request(102.5) == b"{}"
    assert client.due_s == inf


def test_the_next_request_has_its_own_time(pair: Pair) -> None:
    client, theirs = pair
    theirs.send(b"{}\0{")
    client.read(101.0)
    assert client.next_request(102.0) == b"{}"
    assert client.due_s == 102.0 + PATIENCE_S


def test_nothing_is_taken_up_before_the_answer_was_read(pair: Pair) -> None:
    client, theirs = pair
    theirs.send(b"{}\0")
    client.read(101.0)
    client.send(b"x" * (8 << 20), 101.0)
    assert client.is_busy
    assert client.next_request(101.0) is None
    theirs.setblocking(False)
    heard = 0
    while client.has_output:
        heard += len(theirs.recv(1 << 20))
        client.flush(101.5)
    assert client.due_s == inf
    assert client.next_request(102.0) == b"{}"


def test_who_reads_slowly_but_reads_is_waited_for(pair: Pair) -> None:
    client, theirs = pair
    client.send(b"x" * (8 << 20), 101.0)
    assert client.due_s == 101.0 + PATIENCE_S
    theirs.recv(1 << 20)
    client.flush(102.0)
    assert client.due_s == 102.0 + PATIENCE_S


def test_no_time_runs_while_it_waits_for_us(pair: Pair) -> None:
    client, theirs = pair
    theirs.send(b"{}\0{")
    client.read(101.0)
    client.next_request(101.0)
    client.job = iter([None])
    assert client.due_s == inf


@pytest.mark.parametrize("how", ["close", "half"])
def test_who_goes_is_gone(pair: Pair, how: str) -> None:
    client, theirs = pair
    if how == "close":
        theirs.close()
    else:
        theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(GoneError):
        client.read(101.0)


def test_nothing_can_be_sent_to_who_is_gone(pair: Pair) -> None:
    client, theirs = pair
    theirs.close()
    with pytest.raises(GoneError):
        client.send(b"x", 101.0)
