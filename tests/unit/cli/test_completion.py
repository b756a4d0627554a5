"""The shells themselves complete; they know every verb and option."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bpftune.cli import VERBS
from bpftune.cli.completion import FILES, SCRIPTS, choices
from bpftune.cli.verbs import FUNCTIONS

DIRECTORY = Path(__file__).resolve().parents[3] / "packaging" / "completions"
EACH = [verb for verb in choices() if verb]


def script(shell: str) -> Path:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    return DIRECTORY / FILES[shell]


def lines(*command: str) -> list[str]:
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=20
    )
    assert answer.stderr == ""
    return [line for line in answer.stdout.splitlines() if line]


def in_bash(*words: str) -> list[str]:
    number = len(words) - 1
    code = (
        f'source "$0"; COMP_WORDS=("$@"); COMP_CWORD={number}; _bpftune; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return lines("bash", "--norc", "-c", code, str(script("bash")), *words)


def in_zsh(*words: str) -> list[str]:
    code = (
        'function _describe { print -rl -- "${choices[@]}" }; '
        "function _files { print files }; "
        f'words=("$@"); CURRENT={len(words)}; set --; source "$0"'
    )
    found = lines("zsh", "-f", "-c", code, str(script("zsh")), *words)
    return [line.partition(":")[0] for line in found if line.startswith(words[-1])]


def in_fish(*words: str) -> list[str]:
    code = f"source {script('fish')}; complete -C '{' '.join(words)}'"
    found = lines("fish", "--no-config", "-c", code)
    return [line.partition("\t")[0] for line in found]


COMPLETE = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_are_those_that_the_command_makes(shell: str) -> None:
    """If not: make completions."""
    assert (DIRECTORY / FILES[shell]).read_text() == SCRIPTS[shell]()


def test_every_verb_and_option_is_among_the_choices() -> None:
    assert {one.word for one in choices()[""]} >= set(VERBS)
    assert set(choices()) >= set(VERBS)
    for verb, following in choices().items():
        words = {one.word for one in following}
        assert "--help" in words
        assert verb == "lab" or "--json" in words
        assert all(one.told for one in following)
    assert {one.word for one in choices()["rollback"]} == {
        *("--help", "--json", "--all", "--dry-run", "--tunable", "--netns")
    }
    assert set(FUNCTIONS) < set(choices())


@pytest.mark.parametrize("shell", SCRIPTS)
def test_verbs_are_completed(shell: str) -> None:
    complete = COMPLETE[shell]
    assert complete("bpftune", "roll") == ["rollback"]
    assert set(complete("bpftune", "")) >= set(VERBS)
    assert complete("bpftune", "lab", "comp") == ["compare"]
    assert set(complete("bpftune", "lab", "")) >= {"list", "run", "compare"}


@pytest.mark.parametrize("shell", SCRIPTS)
@pytest.mark.parametrize("verb", EACH)
def test_options_of_each_verb_are_completed(shell: str, verb: str) -> None:
    complete = COMPLETE[shell]
    wanted = {one.word for one in choices()[verb] if one.word.startswith("--")}
    assert set(complete("bpftune", *verb.split(), "--")) == wanted


@pytest.mark.parametrize("shell", SCRIPTS)
def test_where_a_value_is_typed_nothing_is_offered(shell: str) -> None:
    assert COMPLETE[shell]("bpftune", "history", "--since", "") == []


def test_a_file_is_completed_from_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a b.conf").touch()
    begun = str(tmp_path / "a")
    assert in_bash("bpftune", "persist", "--file", begun) == [
        str(tmp_path / "a b.conf")
    ]
    assert in_fish("bpftune", "persist", "--file", begun)[0].endswith("b.conf")


def test_a_tab_in_a_real_bash_completes() -> None:
    ours, its = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "PS1": "", "TERM": "dumb", "HISTFILE": ""},
        start_new_session=True,
    )
    os.close(its)
    try:
        os.write(ours, f"source '{script('bash')}'; echo rea''dy\n".encode())
        wait_for(ours, "\nready")
        os.write(ours, b"bpftune rollb\t --dry\t")
        wait_for(ours, "bpftune rollback  *--dry-run")
    finally:
        shell.kill()
        shell.wait(20)
        os.close(ours)


def wait_for(fd: int, pattern: str) -> None:
    heard, end_s = "", time.monotonic() + 20
    while not re.search(pattern, heard.replace("\r", "")):
        assert select.select([fd], [], [], max(0.0, end_s - time.monotonic()))[0], heard
        heard += os.read(fd, 1000).decode()
