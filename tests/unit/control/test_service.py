from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

import pytest

from bpftune.control.changing import Changing
from bpftune.control.client import GoneError
from bpftune.control.framing import Call, CallError
from bpftune.control.reading import Reading
from bpftune.control.service import Service
from bpftune.control.view import Shape
from bpftune.kernel.errors import KernelError
from bpftune.records import Record
from tests.unit.control.scene import Scene


@pytest.fixture
def service(scene: Scene) -> Service:
    return cast("Service", scene.control.server._service)


def test_is_one_answer_and_no_more(service: Service) -> None:
    parts = list(service.answer(Call("io.bpftune.Status"), trusted=False))
    assert [part is not None for part in parts].count(True) == 1


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("Status", {}, "InterfaceNotFound"),
        ("io.other.Status", {}, "InterfaceNotFound"),
        ("io.bpftune.status", {}, "MethodNotFound"),
        ("io.bpftune.__init__", {}, "MethodNotFound"),
        ("io.bpftune.Status", {"x": 1}, "InvalidParameter"),
        ("io.bpftune.Apply", {}, "InvalidParameter"),
        ("io.bpftune.Watch", {}, "ExpectedMore"),
        ("org.varlink.service.Nothing", {}, "MethodNotFound"),
        ("org.varlink.service.GetInterfaceDescription", {}, "InvalidParameter"),
    ],
)
def test_what_cannot_be_called_has_the_standard_error(
    service: Service, method: str, parameters: dict[str, object], error: str
) -> None:
    with pytest.raises(CallError) as told:
        list(service.answer(Call(method, parameters), trusted=True))
    assert told.value.name == f"org.varlink.service.{error}"


@pytest.mark.parametrize("byte", range(256))
def test_any_byte_in_a_name_is_one_line(service: Service, byte: int) -> None:
    name = bytes([0x41, byte]).decode("latin-1")
    for method in (f"io.bpftune.{name}", f"{name}.Status"):
        with pytest.raises(CallError) as told:
            list(service.answer(Call(method), trusted=True))
        for text in told.value.parameters.values():
            assert isinstance(text, str)
            assert text.isascii()
            assert text.isprintable()


def test_a_watch_must_want_more(service: Service) -> None:
    with pytest.raises(CallError):
        list(
            service.answer(
                Call("io.bpftune.Watch", oneway=True, more=True), trusted=True
            )
        )
    watch = Call("io.bpftune.Watch", more=True)
    assert list(service.answer(watch, trusted=False)) == []
    assert service.is_watch(watch)
    assert not service.is_watch(Call("io.bpftune.Status", more=True))


class Breaking:
    """Answers with things of which the last cannot be had."""

    def __init__(self, error: Exception, count: int) -> None:
        self.error = error
        self.count = count

    def tunables(self) -> Iterator[Shape | None]:
        yield {"tunables": self.each()}

    def each(self) -> Iterator[Shape | None]:
        for _ in range(self.count):
            yield {"tunable": "x" * 1000}
        raise self.error


@pytest.mark.parametrize("error", [KernelError("a file is gone"), ValueError("oops")])
def test_what_fails_before_anything_was_sent_is_an_error(error: Exception) -> None:
    told: list[Record] = []
    looks = cast("Reading", Breaking(error, 3))
    service = Service("1", looks, cast("Changing", object()), told.append)
    with pytest.raises(CallError) as refused:
        list(service.answer(Call("io.bpftune.Tunables"), trusted=True))
    assert refused.value.name == "io.bpftune.Refused"
    assert str(error) in refused.value.parameters["why"]  # type: ignore[operator]


@pytest.mark.parametrize("error", [KernelError("a file is gone"), ValueError("oops")])
def test_what_fails_in_the_middle_ends_the_connection_and_is_told(
    error: Exception,
) -> None:
    told: list[Record] = []
    looks = cast("Reading", Breaking(error, 100))
    service = Service("1", looks, cast("Changing", object()), told.append)
    sent: list[bytes | None] = []
    with pytest.raises(GoneError):
        sent.extend(service.answer(Call("io.bpftune.Tunables"), trusted=True))
    assert sent
    assert not any((piece or b"").endswith(b"\0") for piece in sent)
    (record,) = told
    assert record.record == "degraded"
    assert str(error) in record.why


def test_says_where_to_read_on(scene: Scene, service: Service) -> None:
    call = Call("org.varlink.service.GetInfo")
    (answer,) = service.answer(call, trusted=False)
    assert answer is not None
    told = json.loads(answer[:-1])["parameters"]
    assert told["version"] == scene.about.version
