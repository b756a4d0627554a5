"""The prototype table against libbpf's own headers, read by clang."""

from __future__ import annotations

import ctypes
import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpftune.compile import find_clang
from bpftune.kernel import libbpf
from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.errors import KernelError
from bpftune.kernel.libbpf import PROTOTYPES, Libbpf, LibbpfMissing, describe_error

HEADERS = "".join(f"#include <bpf/{name}.h>\n" for name in ("libbpf", "bpf", "btf"))

ACCEPTED: dict[Any, set[str]] = {
    None: {"void"},
    ctypes.c_int: {"int", "enum"},
    ctypes.c_uint32: {"unsigned int"},
    # One ctypes type where long has 64 bits.
    ctypes.c_uint64: {"unsigned long", "unsigned long long"},
    ctypes.c_size_t: {"unsigned long", "unsigned long long"},
    ctypes.c_bool: {"_Bool", "bool"},
    ctypes.c_char_p: {"char *"},
    # Bytes, and options that we leave out.
    ctypes.c_void_p: {
        "void *",
        "struct bpf_insn *",
        "struct bpf_map_batch_opts *",
        "struct bpf_object_open_opts *",
        "struct bpf_prog_load_opts *",
        "struct ring_buffer_opts *",
        "int (*)(enum libbpf_print_level, char *, va_list)",
        "int (*)(enum libbpf_print_level, char *, struct __va_list_tag *)",
    },
    libbpf.Object: {"struct bpf_object *"},
    libbpf.Program: {"struct bpf_program *"},
    libbpf.Map: {"struct bpf_map *"},
    libbpf.Link: {"struct bpf_link *"},
    libbpf.BtfHandle: {"struct btf *"},
    libbpf.Ring: {"struct ring_buffer *"},
    libbpf.TestRunOpts: {"struct bpf_test_run_opts"},
    libbpf.IterAttachOpts: {"struct bpf_iter_attach_opts"},
    libbpf.SAMPLE: {"int (*)(void *, void *, size_t)"},
    libbpf.PRINT: {
        "int (*)(enum libbpf_print_level, char *, va_list)",
        "int (*)(enum libbpf_print_level, char *, struct __va_list_tag *)",
    },
}


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    if shutil.which("clang") is None:
        pytest.skip("there is no clang to read the headers")
    answer = subprocess.run(
        [find_clang(), "-x", "c", "-fsyntax-only", "-Xclang", "-ast-dump=json", "-"],
        input=HEADERS,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def declarations(tree: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    return (node for node in tree["inner"] if node["kind"] == kind)


def prototypes(tree: dict[str, Any]) -> dict[str, list[str]]:
    """Return result and argument types of every function."""
    return {
        node["name"]: [
            node["type"]["qualType"].partition("(")[0].strip(),
            *(
                one["type"]["qualType"]
                for one in node.get("inner", ())
                if one["kind"] == "ParmVarDecl"
            ),
        ]
        for node in declarations(tree, "FunctionDecl")
    }


def typedefs(tree: dict[str, Any]) -> dict[str, str]:
    return {
        node["name"]: node["type"]["qualType"]
        for node in declarations(tree, "TypedefDecl")
    }


def canonical(c_type: str, aliases: dict[str, str]) -> str:
    """Return a C type without const and typedefs; any enum is ``enum``."""
    c_type = c_type.replace("const ", "").replace("const", "").strip()
    if "(*)" in c_type:
        return c_type
    if c_type.endswith("*"):
        return canonical(c_type[:-1], aliases) + " *"
    if c_type.startswith("enum "):
        return "enum"
    return canonical(aliases[c_type], aliases) if c_type in aliases else c_type


def accepted(ours: Any) -> set[str]:
    """Return the C types that the ctypes type *ours* stands for."""
    if ours in ACCEPTED:
        return ACCEPTED[ours]
    return {f"{pointed} *" for pointed in ACCEPTED[ours._type_]}  # POINTER()


def is_same(ours: Any, theirs: str, aliases: dict[str, str]) -> bool:
    return canonical(theirs, aliases) in accepted(ours)


def differences(
    table: dict[str, tuple[Any, ...]], tree: dict[str, Any]
) -> dict[str, list[str]]:
    known, aliases = prototypes(tree), typedefs(tree)
    return {
        name: known.get(name, ["is not there"])
        for name, ours in table.items()
        if name not in known
        or len(ours) != len(known[name])
        or not all(map(is_same, ours, known[name], [aliases] * len(ours)))
    }


def test_prototypes_are_those_of_the_headers(tree: dict[str, Any]) -> None:
    assert differences(PROTOTYPES, tree) == {}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("bpf_object__load", (ctypes.c_int, libbpf.Map)),
        ("bpf_object__load", (ctypes.c_int,)),
        ("bpf_object__load", (ctypes.c_void_p, libbpf.Object)),
        ("bpf_map__fd", (ctypes.c_uint32, libbpf.Map)),
        ("bpf_map__fd", (ctypes.c_int, ctypes.c_void_p)),
        ("bpf_map_delete_elem", (ctypes.c_int, ctypes.c_int, libbpf.Map)),
        ("btf__raw_data", (ctypes.c_void_p, libbpf.BtfHandle, ctypes.c_void_p)),
        (
            "btf__raw_data",
            (ctypes.c_void_p, libbpf.BtfHandle, ctypes.POINTER(ctypes.c_size_t)),
        ),
        (
            "ring_buffer__new",
            (libbpf.Ring, ctypes.c_int, libbpf.PRINT, ctypes.c_void_p, ctypes.c_void_p),
        ),
        ("libbpf_set_print", (ctypes.c_void_p, libbpf.SAMPLE)),
        ("bpf_object__no_such_thing", (ctypes.c_int,)),
    ],
)
def test_a_wrong_prototype_is_found(
    name: str, wrong: tuple[Any, ...], tree: dict[str, Any]
) -> None:
    assert differences({name: wrong}, tree)


def test_options_of_a_test_run_have_the_headers_fields(tree: dict[str, Any]) -> None:
    (record,) = (
        node
        for node in declarations(tree, "RecordDecl")
        if node.get("name") == "bpf_test_run_opts" and "inner" in node
    )
    theirs = [
        (field["name"], field["type"]["qualType"])
        for field in record["inner"]
        if field["kind"] == "FieldDecl"
    ]
    ours = libbpf.TestRunOpts._fields_
    assert [name for name, *_ in ours] == [name for name, _ in theirs]
    aliases = typedefs(tree)
    for (name, kind, *_), (_, c_type) in zip(ours, theirs, strict=True):
        assert is_same(kind, c_type, aliases), name


def test_everything_in_the_table_exists() -> None:
    library = Libbpf()
    assert all(library[name] for name in PROTOTYPES)


def test_a_missing_library_says_what_to_install() -> None:
    with pytest.raises(LibbpfMissing) as caught:
        Libbpf("libnosuchthing.so.1")
    assert "libnosuchthing" in str(caught.value)
    assert "apt install libbpf1" in caught.value.hint
    assert "dnf install libbpf" in caught.value.hint


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libbpf, "OLDEST", (99, 0))
    with pytest.raises(LibbpfMissing, match=r"is too old"):
        Libbpf()


def test_one_kind_of_handle_is_not_taken_for_another() -> None:
    with pytest.raises(ctypes.ArgumentError):
        Libbpf()["bpf_map__fd"](libbpf.Object(1))


def test_libbpf_speaks_into_the_log_and_not_to_stderr() -> None:
    script = """
from bpftune.kernel.libbpf import libbpf
lib = libbpf()
assert not lib["bpf_object__open_file"](b"/nowhere/x.o", None)
text = lib.log.take()
assert "failed to open /nowhere/x.o: No such file or directory" in text, text
assert lib.log.take() == ""
"""
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(Path(libbpf.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_the_log_is_bounded_and_keeps_the_end() -> None:
    library = Libbpf()
    library.log.take()
    for number in range(100):
        path = f"/nowhere/{number}".encode()
        assert not library["bpf_object__open_file"](path, None)
    lines = library.log.take().splitlines()
    assert len(lines) == 64
    assert "/nowhere/99" in lines[-1]


def test_error_numbers_have_names() -> None:
    assert describe_error(1) == "EPERM (Operation not permitted)"
    assert describe_error(4003).startswith("error 4003")


def test_libbpf_may_speak_after_its_python_side_is_gone() -> None:
    library = Libbpf()
    library["libbpf_set_print"](library.log.callback)
    del library
    gc.collect()
    with pytest.raises(KernelError):
        BpfObject(Path("/nonexistent.bpf.o"))
    shared = libbpf.libbpf()
    shared["libbpf_set_print"](shared.log.callback)
