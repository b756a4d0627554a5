"""The package: what a wheel has inside, and that it comes out of an sdist too."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.pace import patient

pytestmark = pytest.mark.real_machine("packages are built and installed")

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path.relative_to(ROOT) for path in ROOT.glob("src/**/*.bpf.c"))


def run(
    *command: object, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(300),
    )


def build(kind: str, source: Path, directory: Path) -> Path:
    answer = run(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        kind,
        "-d",
        directory,
        cwd=source,
    )
    assert answer.returncode == 0, answer.stderr
    (made,) = directory.iterdir()
    return made


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the source tree that an sdist unpacks to."""
    sdist = build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    (root,) = directory.iterdir()
    assert not list(root.rglob("*.bpf.o"))
    return root


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


def test_an_sdist_has_what_a_wheel_is_made_of(unpacked: Path) -> None:
    for source in SOURCES:
        assert (unpacked / source).exists()
    assert (unpacked / "hatch_build.py").exists()


def test_a_wheel_fits_every_machine_and_has_every_object(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for source in SOURCES:
        assert str(source.relative_to("src").with_suffix(".o")) in names


def test_a_wheel_has_schemas_and_completions(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for schema in (ROOT / "src/bpftune/schemas").glob("*.json"):
        assert f"bpftune/schemas/{schema.name}" in names
    shared = {name.partition(".data/data/")[2] for name in names} - {""}
    assert shared == {
        "share/bash-completion/completions/bpftune",
        "share/zsh/site-functions/_bpftune",
        "share/fish/vendor_completions.d/bpftune.fish",
    }


def test_a_missing_clang_is_a_clear_error(unpacked: Path, tmp_path: Path) -> None:
    program = unpacked / "src/bpftune/stale.bpf.c"
    program.write_text("int number;\n")
    try:
        answer = run(
            sys.executable,
            *("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path),
            cwd=unpacked,
            CLANG="/nonexistent",
        )
    finally:
        program.unlink()
    assert answer.returncode != 0
    assert "apt-get install clang" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_installed_command_runs(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    assert run(sys.executable, "-m", "venv", venv).returncode == 0
    answer = run(
        venv / "bin/pip", "install", "--quiet", "--no-index", "--no-deps", wheel
    )
    assert answer.returncode == 0, answer.stderr
    answer = run(venv / "bin/bpftune", "--version", PYTHONPATH="")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("bpftune ")
