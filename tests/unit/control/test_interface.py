from __future__ import annotations

from pathlib import Path

import pytest
import varlink  # type: ignore[import-untyped]  # it has no types
from varlink.scanner import Interface, _Method  # type: ignore[import-untyped]

from bpftune.control import interface
from bpftune.control.framing import CallError
from bpftune.control.interface import FILE, NAME, STANDARD_DESCRIPTION, check, methods


@pytest.mark.parametrize("text", [FILE.read_text(), STANDARD_DESCRIPTION])
def test_reads_the_methods_that_varlinks_own_reader_finds(text: str) -> None:
    theirs = Interface(text)
    found = {
        name: {*member.in_type.fields}
        for name, member in theirs.members.items()
        if isinstance(member, _Method)
    }
    assert {name: {*taken} for name, taken in methods(text).items()} == found


def test_the_description_is_of_the_interface_it_is_named_after() -> None:
    assert Interface(FILE.read_text()).name == NAME
    assert Interface(STANDARD_DESCRIPTION).name == "org.varlink.service"


def test_the_standard_interface_has_all_that_varlink_has() -> None:
    file = Path(varlink.__file__).parent / "org.varlink.service.varlink"
    theirs = Interface(file.read_text())
    ours = Interface(STANDARD_DESCRIPTION)
    assert {*ours.members} >= {*theirs.members}


def test_a_comment_is_no_method() -> None:
    assert methods(
        "# method A() -> ()\nmethod B(x: ?int) -> () # method C() -> ()"
    ) == {"B": {"x": "?int"}}


def test_a_type_that_is_not_plain_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="of type"):
        methods("method A(x: []int) -> ()")


EXPECTED = {"name": "string", "count": "?int", "all": "?bool"}


@pytest.mark.parametrize(
    "given",
    [
        {"name": "x"},
        {"name": "", "count": None, "all": None},
        {"name": "x", "count": 3, "all": True},
    ],
)
def test_takes_what_fits(given: dict[str, object]) -> None:
    check(EXPECTED, given)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "name"),
        ({"name": None}, "name"),
        ({"name": 1}, "name"),
        ({"name": ["x"]}, "name"),
        ({"name": "x", "count": True}, "count"),
        ({"name": "x", "count": 1.0}, "count"),
        ({"name": "x", "all": 1}, "all"),
        ({"name": "x", "other": 1}, "other"),
        ({"name": "x", "x" * 200: 1}, "x" * 64),
    ],
)
def test_names_the_parameter_that_does_not_fit(
    given: dict[str, object], wrong: str
) -> None:
    with pytest.raises(CallError) as told:
        check(EXPECTED, given)
    assert told.value.name == "org.varlink.service.InvalidParameter"
    assert told.value.parameters == {"parameter": wrong}


def test_the_description_is_shipped_beside_the_code() -> None:
    assert interface.FILE.parent.name == "control"
    assert interface.FILE.is_file()
