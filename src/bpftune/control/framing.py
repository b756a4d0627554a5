"""Varlink's framing: JSON objects, each ended by a zero byte.

https://varlink.org/Method-Call and .../Service-Interface are the source of the
member names and of the standard errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_BYTES = 64 * 1024
"""The longest request, its zero byte included."""

PIECE_BYTES = 16 * 1024
"""A piece of a reply is so long, or as long as one more of its elements."""

STANDARD = "org.varlink.service"


class FramingError(Exception):
    """What came cannot be a request; the connection is of no use any more."""


class CallError(Exception):
    """A call that is answered with an error: its full name and parameters."""

    def __init__(self, name: str, **parameters: object) -> None:
        """Be the error *name*, such as ``io.bpftune.NoSuch``."""
        super().__init__(name)
        self.name = name
        self.parameters = parameters


@dataclass(frozen=True, slots=True)
class Call:
    """One request: *method* is ``INTERFACE.NAME``."""

    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    oneway: bool = False
    more: bool = False


class Framer:
    """Cuts a stream of bytes into messages; never keeps more than one too long."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Begin between two messages; one has at most *most_bytes*."""
        self._most_bytes = most_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Take in what came. Raises FramingError if a message is too long."""
        self._rest += data
        if len(self._rest) - self._rest.rfind(b"\0") - 1 >= self._most_bytes:
            raise FramingError(f"a request of more than {self._most_bytes} bytes")

    def take(self) -> bytes | None:
        """Return the next whole message without its zero byte, or None."""
        end = self._rest.find(b"\0")
        if end < 0:
            return None
        if end >= self._most_bytes:
            raise FramingError(f"a request of more than {self._most_bytes} bytes")
        message = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return message

    @property
    def has_begun(self) -> bool:
        """Whether a message has begun and its end has not come."""
        return bool(self._rest) and not self._rest.endswith(b"\0")


def parse_call(message: bytes) -> Call:
    """Return the call in *message*. Raises FramingError if it is none."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise FramingError("a request that is not JSON") from error
    if not isinstance(found, dict):
        raise FramingError("a request that is no call")
    parameters = found.get("parameters")
    call = Call(
        found.get("method", ""),
        {} if parameters is None else parameters,
        found.get("oneway") or False,
        found.get("more") or False,
    )
    right = (
        isinstance(call.method, str)
        and isinstance(call.parameters, dict)
        and isinstance(call.oneway, bool)
        and isinstance(call.more, bool)
    )
    if not right or not call.method:
        raise FramingError("a request that is no call")
    return call


def reply(parameters: object, *, continues: bool = False) -> bytes:
    """Return a reply as it is sent."""
    message: dict[str, object] = {"parameters": parameters}
    if continues:
        message["continues"] = True
    return _encoded(message)


def reply_in_pieces(
    parameters: Mapping[str, object], shown: Callable[[object], object]
) -> Iterator[bytes | None]:
    """Yield a reply piece by piece, each thing in it as *shown* returns it.

    A member that is an iterator is sent as the array of what it yields, which is
    never there as a whole. Where it yields None, None is yielded.
    """
    out = bytearray(b'{"parameters":{')
    for position, (name, value) in enumerate(parameters.items()):
        out += b"," if position else b""
        if not isinstance(value, Iterator):
            out += _text(shown({name: value}))[1:-1]
            continue
        out += _text(name) + b":["
        comma = b""
        for one in value:
            if one is None:
                yield None
                continue
            out += comma + _text(shown(one))
            comma = b","
            if len(out) >= PIECE_BYTES:
                yield bytes(out)
                out.clear()
        out += b"]"
    yield bytes(out + b"}}\0")


def error_reply(error: CallError) -> bytes:
    """Return an error as it is sent."""
    return _encoded({"error": error.name, "parameters": error.parameters})


def _encoded(message: object) -> bytes:
    return _text(message) + b"\0"


def _text(thing: object) -> bytes:
    # ASCII only, so there is no zero byte and no lone surrogate in it.
    return json.dumps(thing, separators=(",", ":")).encode("ascii")
