from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftune import tuners
from bpftune.model import Tuner
from bpftune.tuners import (
    GROUP,
    Problem,
    beside,
    discover,
    entry_points,
    installed,
    is_built_in,
)

GOOD = """
from bpftune.model import Tunable, Tuner
tuner = Tuner("{name}", "does good", (Tunable("net.ipv4.ip_forward"),))
"""


class Site:
    """A directory of installed distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(
        self, name: str, module: str, text: str, attribute: str = "tuner"
    ) -> Path:
        info = self.path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(
            f"[console_scripts]\nx = y:z\n\n[{GROUP}]\n{name} = {module}:{attribute}\n"
        )
        file = self.path / f"{module}.py"
        file.write_text(text)
        return file

    def discover(self) -> tuple[list[Tuner], list[Problem]]:
        return discover([str(self.path)])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(tuners, "BUILT_IN", ())
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    umask = os.umask(0o022)
    yield Site(tmp_path)
    os.umask(umask)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_finds_an_installed_tuner(site: Site) -> None:
    site.install("good", "good_tuner", GOOD.format(name="good"))
    (tuner,), problems = site.discover()
    assert tuner.name == "good"
    assert not problems
    assert not is_built_in(tuner)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def broken(:", "SyntaxError"),
        ("other = 1", "AttributeError"),
        ("tuner = 42", "no bpftune.model.Tuner"),
        (GOOD.format(name="Bad Name\\n"), "no name for a tuner"),
        (
            "from bpftune.model import Tuner\ntuner = Tuner('x', '', ('net.x',))",
            "tunables",
        ),
        (
            "from bpftune.model import Tuner\ntuner = Tuner('x', '', (), (int,))",
            "events",
        ),
        (
            "from pathlib import Path\nfrom bpftune.model import Tuner\n"
            "tuner = Tuner('x', '', bpf_object=Path('/nonexistent/x.bpf.o'))",
            "bpftune.compile",
        ),
    ],
)
def test_a_broken_tuner_costs_no_other(site: Site, text: str, reason: str) -> None:
    site.install("bad", "bad_tuner", text)
    site.install("good", "good_tuner", GOOD.format(name="good"))
    found, (problem,) = site.discover()
    assert [tuner.name for tuner in found] == ["good"]
    assert problem.name == "bad"
    assert reason in problem.reason


def test_a_name_is_taken_once(site: Site) -> None:
    site.install("a", "a_tuner", GOOD.format(name="same"))
    site.install("b", "b_tuner", GOOD.format(name="same"))
    found, (problem,) = site.discover()
    assert len(found) == 1
    assert problem == Problem("b", "there is a tuner same already")


def test_a_missing_module_is_a_problem(site: Site) -> None:
    site.install("gone", "gone_tuner", "").unlink()
    assert "no module gone_tuner" in site.discover()[1][0].reason


def test_refuses_what_others_can_write_and_does_not_run_it(site: Site) -> None:
    file = site.install("open", "open_tuner", "raise SystemExit('was run')")
    file.chmod(0o666)
    _, (problem,) = site.discover()
    assert "can be written by" in problem.reason
    assert "was run" not in problem.reason


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_refuses_a_directory_where_others_can_add_modules(
    site: Site, mode: int
) -> None:
    site.install("good", "good_tuner", GOOD.format(name="good"))
    site.path.chmod(mode)
    found, (problem,) = site.discover()
    site.path.chmod(0o755)
    assert not found
    assert "can be written by" in problem.reason


def test_refuses_a_bpf_object_that_others_can_write(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "x.bpf.o").write_bytes(b"")
    (target / "x.bpf.o").chmod(0o666)
    site.install(
        "x",
        "x_tuner",
        "from pathlib import Path\nfrom bpftune.model import Tuner\n"
        f"tuner = Tuner('x', '', bpf_object=Path({str(target / 'x.bpf.o')!r}))",
    )
    assert "can be written by" in site.discover()[1][0].reason


def test_a_link_leads_to_what_is_checked(site: Site, tmp_path: Path) -> None:
    file = site.install("good", "good_tuner", GOOD.format(name="good"))
    away = tmp_path / "away"
    away.mkdir()
    file.rename(away / "real.py")
    file.symlink_to(away / "real.py")
    assert len(site.discover()[0]) == 1
    del sys.modules["good_tuner"]
    away.chmod(0o777)
    assert "away can be written" in site.discover()[1][0].reason


def test_the_current_directory_is_not_searched(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("good", "good_tuner", GOOD.format(name="good"))
    monkeypatch.chdir(site.path)
    assert discover(["", "."]) == ([], [])


def test_the_first_distribution_of_a_name_hides_others(
    site: Site, tmp_path: Path
) -> None:
    second = Site(tmp_path / "second")
    second.path.mkdir()
    site.install("good", "good_tuner", GOOD.format(name="good"))
    second.install("good", "hidden_tuner", GOOD.format(name="hidden"))
    found = list(installed([str(site.path), str(second.path)]))
    assert [entry.reference for entry in found] == ["good_tuner:tuner"]


def test_missing_directories_are_no_problem(site: Site) -> None:
    assert discover(["/nonexistent", str(site.path)]) == ([], [])


def test_built_in_tuners_come_through_the_same_door(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.path / "sysctl.py").write_text(GOOD.format(name="sysctl"))
    monkeypatch.setattr(tuners, "BUILT_IN", ("sysctl:tuner", "missing_one:tuner"))
    (tuner,), (problem,) = site.discover()
    assert is_built_in(tuner)
    assert problem.name == "missing_one"


def test_beside_names_a_file_by_its_neighbour() -> None:
    assert beside(__file__, "x.bpf.o") == Path(__file__).parent / "x.bpf.o"


@given(st.text())
def test_any_entry_points_file_can_be_read(text: str) -> None:
    for name, reference in entry_points(f"[{GROUP}]\n{text}", GROUP):
        assert name == name.strip()
        assert reference == reference.strip()


def test_entry_points_are_read_like_the_standard_says() -> None:
    text = """
# comment
[other]
a = no:no
[bpftune.tuners]
b=mod.sub:attr
c = mod:attr [extra]
; comment = x
[more]
d = no:no
"""
    assert list(entry_points(text, GROUP)) == [("b", "mod.sub:attr"), ("c", "mod:attr")]
