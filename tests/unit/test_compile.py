from __future__ import annotations

import os
from pathlib import Path

import pytest

from bpftune.compile import CompileError, compile_all, find_clang, is_stale, main

GOOD = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "beside.h"
int number = NUMBER;
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "x.bpf.c"
    path.parent.mkdir()
    path.write_text(GOOD)
    (path.parent / "beside.h").write_text("#define NUMBER 1\n")
    return path


def fake_clang(directory: Path, script: str) -> str:
    path = directory / "clang"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_compiles_beside_the_source_and_only_when_stale(source: Path) -> None:
    target = source.with_name("x.bpf.o")
    assert is_stale(source)
    assert compile_all(source.parent.parent) == [target]
    assert target.read_bytes()[:4] == b"\x7fELF"
    assert [path.name for path in source.parent.iterdir()].count("x.bpf.o.new") == 0
    assert not is_stale(source)
    assert compile_all(source.parent.parent) == []


@pytest.mark.parametrize("changed", ["x.bpf.c", "beside.h"])
def test_a_newer_source_or_header_makes_it_stale(source: Path, changed: str) -> None:
    compile_all(source.parent)
    later_ns = source.with_name("x.bpf.o").stat().st_mtime_ns + 1_000_000
    os.utime(source.with_name(changed), ns=(later_ns, later_ns))
    assert is_stale(source)


def test_a_warning_is_an_error_and_keeps_the_old_object(source: Path) -> None:
    compile_all(source.parent)
    old = source.with_name("x.bpf.o").read_bytes()
    source.write_text(GOOD + "static int unused(void) { return 0; }\n")
    later_ns = source.stat().st_mtime_ns + 10**10
    os.utime(source, ns=(later_ns, later_ns))
    with pytest.raises(CompileError, match="unused"):
        compile_all(source.parent)
    assert source.with_name("x.bpf.o").read_bytes() == old


@pytest.mark.parametrize(
    ("header", "package"),
    [("bpf/missing.h", "libbpf-dev"), ("linux/missing.h", "linux-libc-dev")],
)
def test_says_what_to_install_for_a_missing_header(
    source: Path, header: str, package: str
) -> None:
    source.write_text(f"#include <{header}>\n")
    with pytest.raises(CompileError, match=package):
        compile_all(source.parent)


def test_says_what_to_install_without_clang(
    monkeypatch: pytest.MonkeyPatch, source: Path
) -> None:
    monkeypatch.delenv("CLANG", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CompileError, match="apt-get install clang"):
        compile_all(source.parent)


def test_takes_no_clang_that_is_too_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLANG", fake_clang(tmp_path, "echo 13.0.1"))
    with pytest.raises(CompileError, match="14 or newer"):
        find_clang()
    monkeypatch.setenv("CLANG", fake_clang(tmp_path, "echo 14.0.6"))
    assert find_clang() == str(tmp_path / "clang")


def test_the_command_tells_errors_on_stderr(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(source.parent)]) == 0
    assert capsys.readouterr().out == f"{source.with_name('x.bpf.o')}\n"
    source.with_name("y.bpf.c").write_text("nonsense\n")
    assert main([str(source.parent)]) == 1
    assert "bpftune: " in capsys.readouterr().err
