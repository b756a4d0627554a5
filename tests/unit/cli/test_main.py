from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bpftune import __version__, cli
from bpftune.cli import VERBS, main, usage
from bpftune.cli.completion import choices
from bpftune.cli.errors import CommandError, ExitCode, sentence
from bpftune.kernel.errors import KernelError, NotPermittedError, UnsupportedError
from bpftune.kernel.libbpf import LibbpfMissing


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Record what is called instead of doing it."""
    calls: list[tuple[str, object]] = []

    def find(function: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        def call(*words: object, **options: object) -> int:
            calls.append((function, words[0] if words else options))
            return 0

        return call

    monkeypatch.setattr(cli, "_call", find)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return calls


@pytest.mark.parametrize(
    ("words", "function", "given"),
    [
        ([], "bpftune.cli:run", {"json": False}),
        (["--json"], "bpftune.cli:run", {"json": True}),
        (["run", "--json"], "bpftune.cli:run", {"json": True}),
        (["observe"], "bpftune.cli:observe", {"json": False}),
        (["--json", "check"], "bpftune.cli.check:check", {"json": True}),
        (["tuners"], "bpftune.cli.tunables:tuners", {"json": False}),
        (
            ["lab", "run", "x", "--json"],
            "bpftune.cli.lab:lab_main",
            ["run", "x", "--json"],
        ),
        (["lab", "--help"], "bpftune.cli.lab:lab_main", ["--help"]),
    ],
)
def test_words_reach_their_verb(
    called: list[tuple[str, object]], words: list[str], function: str, given: object
) -> None:
    assert main(words) == 0
    assert called == [(function, given)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chek"], "bpftune: chek is no verb. Did you mean check?\n"),
        (["xyzzy"], "xyzzy is no verb. Verbs are run, observe"),
        (["a\nb"], r"a\x0ab is no verb"),
        (["check", "tuners"], "one verb at a time: check or tuners"),
        (["check", "--jsno"], "check has no option --jsno. See bpftune --help."),
        (["-x"], "run has no option -x"),
        (["--json", "lab"], "options of lab come after it"),
    ],
)
def test_a_wrong_word_is_named_with_a_way_out(
    called: list[tuple[str, object]],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    assert main(words) == ExitCode.USAGE
    output = capsys.readouterr()
    assert message in output.err
    assert not output.out
    assert not called


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["check", "--help"]])
def test_help_is_for_reading(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(words) == 0
    output = capsys.readouterr().out
    assert output == usage()
    assert all(verb in output for verb in VERBS)
    assert max(map(len, output.splitlines())) <= 80


def test_the_manual_has_every_verb_and_option() -> None:
    manual = (Path(__file__).parents[3] / "docs/man/bpftune.8.rst").read_text()
    synopsis, told = manual.split("DESCRIPTION\n")[0], manual.split("\nVERBS\n")[1]
    for verb, following in choices().items():
        if verb.startswith("lab"):  # see bpftune-lab(8)
            continue
        if verb:
            assert f"**{verb}**" in synopsis
            assert re.search(rf"^(.*, )?\*\*{verb}\*\*", told, re.MULTILINE), verb
        for one in following:
            assert one.word in manual, one


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"bpftune {__version__}\n"


@pytest.mark.parametrize("verb", ["run", "observe", "check"])
def test_who_is_not_root_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main([verb]) == ExitCode.NOT_PERMITTED
    assert f"sudo bpftune {verb}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            KernelError("x: no BTF", "use a newer kernel"),
            1,
            "x: no BTF. Use a newer kernel.",
        ),
        (KernelError("x: no BTF"), 1, "bpftune: x: no BTF\n"),
        (CommandError("x: no", "do y", ExitCode.UNSUPPORTED), 5, "x: no. Do y."),
        (KernelError("evil \x1b[31m\nname"), 1, r"evil \x1b[31m\x0aname"),
    ],
)
def test_errors_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    text: str,
) -> None:
    def fail(**_: object) -> int:
        raise error

    monkeypatch.setattr(cli, "_call", lambda _: fail)
    assert main(["tuners"]) == code
    written = capsys.readouterr().err
    assert text in written
    assert len(written.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KernelError("cannot start"), 1),
        (NotPermittedError("cannot start"), 4),
        (UnsupportedError("cannot start"), 5),
        (LibbpfMissing("cannot start"), 5),
    ],
)
def test_a_daemon_that_cannot_start_says_whether_it_ever_could(
    monkeypatch: pytest.MonkeyPatch, error: KernelError, code: int
) -> None:
    def fail(**_: object) -> int:
        raise error

    def find(function: str) -> Callable[..., object]:
        return fail if function == "bpftune.run:run" else cli.run

    monkeypatch.setattr(cli, "_call", find)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert main(["run"]) == code


def test_an_interrupt_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(**_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_call", lambda _: stop)
    assert main(["tuners"]) == 130


def test_sentences_end_once() -> None:
    assert sentence("a: b.", "do c.") == "bpftune: a: b. Do c."
    assert sentence("a: b") == "bpftune: a: b"


def test_a_reader_that_has_seen_enough_hears_nothing() -> None:
    command = f"{sys.executable} -m bpftune --help | true; echo ${{PIPESTATUS[0]}}"
    answer = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False
    )
    assert answer.stderr == ""
    assert answer.stdout == "0\n"


def test_the_daemons_way_in_is_cheap() -> None:
    """What an import costs stays in the daemon's memory for good."""
    code = "import sys, bpftune.cli; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    costly = {"argparse", "asyncio", "logging", "importlib.metadata", "difflib", "json"}
    assert not costly & set(answer.stdout.split())


def test_the_daemon_never_imports_what_is_for_the_commands_output() -> None:
    code = (
        "import sys, bpftune.cli, bpftune.run, bpftune.tuners;"
        "bpftune.tuners.discover([]); print(*sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(answer.stdout.split())
    assert "bpftune.run" in loaded
    assert "bpftune.tuners.tcp_buffer" in loaded
    assert not {"rich", "argparse", "asyncio", "logging", "textwrap"} & loaded
    assert not {"statistics", "decimal", "random", "importlib.metadata"} & loaded
    commands = {name for name in loaded if name.startswith("bpftune.cli.")}
    assert commands == {"bpftune.cli.errors"}
