"""Varlink's framing: JSON objects, each ended by a zero byte.

https://varlink.org/Method-Call and .../Service-Interface are the source of the
member names and of the standard errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 64 * 1024
"""The longest request, its zero byte included."""

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


def error_reply(error: CallError) -> bytes:
    """Return an error as it is sent."""
    return _encoded({"error": error.name, "parameters": error.parameters})


def _encoded(message: object) -> bytes:
    # ASCII only, so there is no zero byte and no lone surrogate in it.
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\0"
