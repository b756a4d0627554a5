"""The interface as its description file has it: methods and their parameters.

The file is what a client is shown, and what each call is checked against.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.control.framing import STANDARD, CallError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "io.bpftune"
FILE = Path(__file__).parent / f"{NAME}.varlink"

# https://varlink.org/Service: what each service has.
STANDARD_DESCRIPTION = """\
# The Varlink Service Interface is provided by every varlink service.
interface org.varlink.service

method GetInfo() -> (
  vendor: string, product: string, version: string, url: string, interfaces: []string
)
method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
error ExpectedMore ()
"""

_COMMENT = re.compile(r"#[^\n]*")
_METHOD = re.compile(r"\bmethod\s+([A-Z][A-Za-z0-9]*)\s*\(([^)]*)\)\s*->")
_TYPES: dict[str, type] = {"string": str, "int": int, "bool": bool}

Parameters = dict[str, str]
"""The type of each parameter of a method, as it is written: ``?string``."""


def methods(description: str) -> dict[str, Parameters]:
    """Return the methods in *description* and the types of their parameters.

    Parameters are plain: strings, integers and truth values, each perhaps null.
    """
    found: dict[str, Parameters] = {}
    for name, inside in _METHOD.findall(_COMMENT.sub("", description)):
        found[name] = {}
        for parameter in filter(None, (part.strip() for part in inside.split(","))):
            key, _, kind = parameter.partition(":")
            if kind.strip().removeprefix("?") not in _TYPES:
                raise ValueError(f"{name} has a parameter of type {kind.strip()}")
            found[name][key.strip()] = kind.strip()
    return found


def check(expected: Parameters, given: Mapping[str, object]) -> None:
    """Raise InvalidParameter unless *given* is what a method takes.

    What may be null may also be left out.
    """
    for name in given:
        if name not in expected:
            raise CallError(f"{STANDARD}.InvalidParameter", parameter=name[:64])
    for name, kind in expected.items():
        value, wanted = given.get(name), _TYPES[kind.removeprefix("?")]
        if value is None and kind.startswith("?"):
            continue
        if type(value) is not wanted:  # a bool is an int, but not to varlink
            raise CallError(f"{STANDARD}.InvalidParameter", parameter=name)
