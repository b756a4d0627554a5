from __future__ import annotations

import pytest

from bpftune.control.errors import answered
from bpftune.control.interface import FILE


@pytest.mark.parametrize(
    ("name", "key"),
    [("NoSuch", "what"), ("Refused", "why"), ("NotPermitted", "why"), ("Busy", "why")],
)
def test_an_error_is_one_of_the_interface(name: str, key: str) -> None:
    error = answered(name, "some\nthing")
    assert error.name == f"io.bpftune.{name}"
    assert error.parameters == {key: "some\\x0athing"}
    assert f"error {name} ({key}: string)" in FILE.read_text()
