from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune.control.framing import (
    MOST_BYTES,
    PIECE_BYTES,
    Call,
    CallError,
    Framer,
    FramingError,
    error_reply,
    parse_call,
    reply,
    reply_in_pieces,
)
from bpftune.control.redact import redacted

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)


def take_all(framer: Framer) -> list[bytes]:
    return list(iter(framer.take, None))


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 30)))
def test_messages_come_whole_however_they_were_cut(
    messages: list[bytes], sizes: list[int]
) -> None:
    messages = [message.replace(b"\0", b"") for message in messages]
    stream = b"".join(message + b"\0" for message in messages)
    framer, found = Framer(), []
    for size in [*sizes, len(stream) + 1]:
        framer.feed(stream[:size])
        stream = stream[size:]
        found += take_all(framer)
    assert found == messages
    assert not framer.has_begun


def test_knows_whether_a_message_has_begun() -> None:
    framer = Framer()
    assert not framer.has_begun
    framer.feed(b"abc")
    assert framer.has_begun
    assert framer.take() is None
    framer.feed(b"\0")
    assert not framer.has_begun
    assert framer.take() == b"abc"
    assert not framer.has_begun


@pytest.mark.parametrize("at_once", [1, 7, 100])
def test_keeps_no_more_than_the_longest_message(at_once: int) -> None:
    framer = Framer(100)
    framer.feed(b"x" * 99)
    framer.feed(b"\0")
    assert framer.take() == b"x" * 99
    for _ in range(99 // at_once):
        framer.feed(b"x" * at_once)
    with pytest.raises(FramingError, match="more than 100 bytes"):
        framer.feed(b"x" * max(1, at_once))


def test_one_that_came_whole_may_be_too_long_too() -> None:
    framer = Framer(100)
    framer.feed(b"x" * 100 + b"\0")
    with pytest.raises(FramingError):
        framer.take()


@given(st.dictionaries(st.text(max_size=10), plain), st.booleans(), st.booleans())
def test_a_call_is_what_was_sent(
    parameters: dict[str, object], oneway: bool, more: bool
) -> None:
    text = json.dumps(
        {"method": "a.B", "parameters": parameters, "oneway": oneway, "more": more}
    )
    assert parse_call(text.encode()) == Call("a.B", parameters, oneway, more)


def test_what_is_left_out_or_null_is_nothing() -> None:
    assert parse_call(b'{"method":"a.B"}') == Call("a.B")
    message = b'{"method":"a.B","parameters":null,"oneway":null,"more":null,"x":1}'
    assert parse_call(message) == Call("a.B")


@given(st.binary(max_size=200))
def test_bytes_are_a_call_or_an_error(message: bytes) -> None:
    try:
        call = parse_call(message)
    except FramingError:
        return
    assert call.method


@given(st.dictionaries(st.text(max_size=9), plain | st.lists(plain, max_size=3)))
def test_a_reply_is_one_message_of_ascii(thing: object) -> None:
    message = reply(thing)
    assert message.endswith(b"\0")
    assert message.count(b"\0") == 1
    assert message.isascii()
    assert json.loads(message[:-1]) == {"parameters": thing}


def same(thing: object) -> object:
    return thing


@given(
    st.dictionaries(
        st.text(max_size=9),
        plain | st.lists(st.dictionaries(st.text(max_size=3), plain), max_size=3),
        max_size=4,
    ),
    st.integers(0, 3),
)
def test_the_pieces_of_a_reply_are_the_reply(
    thing: dict[str, object], pauses: int
) -> None:
    paused = {
        name: iter([None] * pauses + value + [None] * pauses)
        if isinstance(value, list)
        else value
        for name, value in thing.items()
    }
    pieces = list(reply_in_pieces(paused, same))
    lists = sum(isinstance(value, list) for value in thing.values())
    assert pieces.count(None) == 2 * pauses * lists
    assert b"".join(filter(None, pieces)) == reply(thing)


def test_a_long_reply_is_never_there_as_a_whole() -> None:
    made = 0

    def each() -> Iterator[object]:
        nonlocal made
        for made in range(10_000):  # noqa: B007
            yield {"text": "x" * 1000}

    pieces = reply_in_pieces({"a": 1, "many": each()}, same)
    most = 0
    for number, piece in enumerate(pieces):
        assert piece is not None
        most = max(most, len(piece))
        assert made <= 20 * (number + 1)
    assert PIECE_BYTES <= most < PIECE_BYTES + 2000


def test_each_thing_in_a_reply_is_shown_as_it_may_be() -> None:
    thing = {"peer": "10.0.0.1", "time": "1.2.3.4", "a": iter([{"why": "to 10.0.0.1"}])}
    heard = b"".join(filter(None, reply_in_pieces(thing, redacted)))
    assert json.loads(heard[:-1])["parameters"] == {
        "peer": "(hidden)",
        "time": "1.2.3.4",
        "a": [{"why": "to (hidden)"}],
    }


def test_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    message = reply({"x": "\udcff\0\ud800"})
    assert json.loads(message[:-1])["parameters"]["x"] == "\udcff\0\ud800"


def test_says_when_more_will_follow() -> None:
    assert json.loads(reply({}, continues=True)[:-1]) == {
        "parameters": {},
        "continues": True,
    }


def test_an_error_has_its_name_and_what_it_is_about() -> None:
    error = CallError("a.Wrong", what="that")
    assert json.loads(error_reply(error)[:-1]) == {
        "error": "a.Wrong",
        "parameters": {"what": "that"},
    }


def test_allows_what_the_documents_say() -> None:
    assert MOST_BYTES == 65536
