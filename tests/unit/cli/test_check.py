from __future__ import annotations

import json
from pathlib import Path

import pytest

from bpftune.cli import check as module
from bpftune.cli.check import Answer, check, needs, verdict_on
from bpftune.cli.errors import ExitCode
from bpftune.kernel.errors import KernelError
from bpftune.kernel.verdict import Verdict
from bpftune.model import Tuner
from bpftune.tuners import Problem

YES = Answer("a", works=True)
NO = Answer("b", works=False, reason="this kernel has no tracepoint b", lost="all b")
TUNER = Tuner("x", "Tune x", bpf_object=Path("x.bpf.o"), losses={"b": "all b"})


class FakeLoader:
    verdicts: tuple[Verdict, ...] = (
        Verdict("a", works=True),
        Verdict("b", works=False, reason="refused"),
    )
    error: KernelError | None = None
    closed = 0

    def __enter__(self) -> FakeLoader:
        return self

    def __exit__(self, *_: object) -> None:
        type(self).closed += 1

    def add(self, *_: object, **__: object) -> list[Verdict]:
        if self.error:
            raise self.error
        return list(self.verdicts)


class FakeSockets:
    refused = nudge_refused = ""
    error: KernelError | None = None

    def __enter__(self) -> FakeSockets:
        if self.error:
            raise self.error
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> type[FakeLoader]:
    class Loader(FakeLoader):
        pass

    monkeypatch.setattr(module, "Loader", Loader)
    monkeypatch.setattr(module, "open_cgroup2_root", lambda: -1)
    monkeypatch.setattr(module, "discover", lambda: ([TUNER], []))
    monkeypatch.setattr(module, "Sockets", FakeSockets)
    monkeypatch.setattr(module, "needs", lambda: [Answer("libbpf", works=True)])
    return Loader


@pytest.mark.parametrize(
    ("base", "tried", "problems", "code"),
    [
        ([YES], {"x": [YES]}, [], ExitCode.OK),
        ([YES], {}, [], ExitCode.OK),
        ([YES], {"x": []}, [], ExitCode.OK),
        ([YES], {"x": [YES, NO]}, [], ExitCode.DEGRADED),
        ([YES], {"x": [YES], "y": [NO]}, [], ExitCode.DEGRADED),
        ([YES], {"x": [YES]}, [Problem("z", "broken")], ExitCode.DEGRADED),
        ([YES], {"x": [NO]}, [], ExitCode.UNSUPPORTED),
        ([NO], {"x": [YES]}, [], ExitCode.UNSUPPORTED),
    ],
)
def test_the_exit_code_says_all_part_or_nothing(
    base: list[Answer],
    tried: dict[str, list[Answer]],
    problems: list[Problem],
    code: ExitCode,
) -> None:
    assert verdict_on(base, tried, [YES], problems) == code


def test_tells_what_is_lost_and_lets_go(
    loader: type[FakeLoader], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check() == ExitCode.DEGRADED
    output = capsys.readouterr().out
    assert "  a            yes\n" in output
    assert "  b            no   refused\n" in output
    assert "lost: all b\n" in output
    assert "\x1b" not in output
    assert loader.closed == 1


def test_a_tuner_that_cannot_be_loaded_costs_no_other(
    loader: type[FakeLoader], capsys: pytest.CaptureFixture[str]
) -> None:
    loader.error = KernelError("x.bpf.o is no BPF object", "build it")
    assert check() == ExitCode.UNSUPPORTED
    output = capsys.readouterr().out
    assert "no   x.bpf.o is no BPF object; build it\n" in output
    assert "lost: all b" in output


def test_json_is_one_object(
    loader: type[FakeLoader], capsys: pytest.CaptureFixture[str]
) -> None:
    loader.verdicts = (Verdict("a", works=True),)
    assert check(json=True) == ExitCode.OK
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["schema"] == 1
    assert parsed["works"] == "all"
    assert parsed["tuners"][0]["programs"] == [
        {"name": "a", "works": True, "reason": "", "lost": ""}
    ]


@pytest.mark.usefixtures("loader")
def test_problems_go_to_stderr(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = Problem("bad", "cannot be imported:\n\x1b[31m")
    monkeypatch.setattr(module, "discover", lambda: ([], [problem]))
    assert check() == ExitCode.DEGRADED
    assert r"tuner bad is left out: cannot be imported:\x0a" in capsys.readouterr().err


def test_says_which_foundation_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise KernelError("libbpf cannot be opened", "install libbpf1")

    def no_cgroup2() -> None:
        raise KernelError("no cgroup2 file system is mounted")

    monkeypatch.setattr(module, "libbpf", missing)
    monkeypatch.setattr(module, "cgroup2_root", no_cgroup2)
    monkeypatch.setattr(module, "KERNEL_BTF", Path("/nonexistent/vmlinux"))
    answers = {answer.name: answer for answer in needs()}
    assert not any(answer.works for answer in answers.values())
    assert "CONFIG_DEBUG_INFO_BTF" in answers["BTF of the kernel"].reason
    assert "install libbpf1" in answers["libbpf"].reason


def test_a_kernel_without_cheap_looks_is_told(
    loader: type[FakeLoader],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loader, "verdicts", (Verdict("a", works=True),))
    assert check() == ExitCode.OK
    monkeypatch.setattr(FakeSockets, "refused", "iterator refused")
    assert check() == ExitCode.DEGRADED
    told = " ".join(capsys.readouterr().out.split())
    assert "cheap looks no iterator refused lost: each look passes all" in told
    monkeypatch.setattr(FakeSockets, "error", KernelError("no sampler", "do this"))
    assert check(json=True) == ExitCode.UNSUPPORTED  # the daemon cannot start
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["connections"] == [
        {
            "name": "full looks",
            "works": False,
            "reason": "no sampler; do this",
            "lost": "nothing can be measured",
        }
    ]
