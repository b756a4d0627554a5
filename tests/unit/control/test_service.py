from __future__ import annotations

import json
from typing import cast

import pytest

from bpftune.control.framing import Call, CallError
from bpftune.control.service import Service
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


def test_says_where_to_read_on(scene: Scene, service: Service) -> None:
    call = Call("org.varlink.service.GetInfo")
    (answer,) = service.answer(call, trusted=False)
    assert answer is not None
    told = json.loads(answer[:-1])["parameters"]
    assert told["version"] == scene.about.version
