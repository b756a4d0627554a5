"""Completion for shells, from what the command really takes.

``make completions`` writes the scripts that are kept in ``packaging/completions``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from bpftune.cli import VERBS, lab, verbs

FILES = {"bash": "bpftune.bash", "zsh": "_bpftune", "fish": "bpftune.fish"}
"""The names under which the shells look for the scripts."""

_BASH = """\
# Completion of bpftune for bash.
_bpftune() {{
	local word words verb= current=${{COMP_WORDS[COMP_CWORD]}}
	for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
		[[ $word == -* || ($verb != '' && $verb != lab) ]] || verb+=${{verb:+ }}$word
	done
	COMPREPLY=()
	case "$verb ${{COMP_WORDS[COMP_CWORD - 1]}}" in
	{files})
		compopt -o filenames 2> /dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
		;;
	{values}) return ;;
	esac
	case $verb in
{cases}
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}}
complete -F _bpftune bpftune
"""

_ZSH = """\
#compdef bpftune
# Completion of bpftune for zsh.
_bpftune() {{
	local word verb=''
	local -a choices
	for word in "${{(@)words[2,CURRENT-1]}}"; do
		[[ $word == -* || ($verb != '' && $verb != lab) ]] || verb+=${{verb:+ }}$word
	done
	case "$verb ${{words[CURRENT-1]}}" in
	{files}) _files; return ;;
	{values}) return ;;
	esac
	case $verb in
{cases}
	esac
	_describe -o bpftune choices
}}
_bpftune "$@"
"""


class Choice(NamedTuple):
    """A word that may follow: *value* is what an option wants after it, or empty."""

    word: str
    told: str
    value: str = ""


def choices() -> dict[str, list[Choice]]:
    """Return what may follow each verb; ``""`` is the command alone."""
    top = [Choice(name, verb.summary) for name, verb in VERBS.items()]
    more = [
        Choice("--json", "for machines"),
        Choice("--help", "print a summary"),
        Choice("--version", "print the version"),
    ]
    found = {"": top + more}
    asking, proving = _subcommands(verbs.parser()), _subcommands(lab.parser())
    for name, verb in VERBS.items():
        found[name] = more[:2] if verb.function else _options(asking[name][1])
    found["lab"] = [Choice(name, told) for name, (told, _) in proving.items()]
    found["lab"].append(more[1])
    for name, (_, made) in proving.items():
        found[f"lab {name}"] = _options(made)
    return found


# argparse tells what it takes to nobody but itself.
def _subcommands(
    parser: argparse.ArgumentParser,
) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return the words that *parser* goes on with: what they do, their parsers."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            told = {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001
            return {name: (told[name], made) for name, made in action.choices.items()}
    return {}


def _options(parser: argparse.ArgumentParser) -> list[Choice]:
    found = []
    for action in parser._actions:  # noqa: SLF001
        long = [word for word in action.option_strings if word.startswith("--")]
        value = str(action.metavar or "VALUE") if action.nargs != 0 else ""
        found += [Choice(word, action.help or "", value) for word in long]
    return found


def _patterns(*, files: bool) -> str:
    """Return, as a pattern of the shell's, where a file or another value is typed."""
    found = [
        f"'{verb} {choice.word}'"
        for verb, all_of_it in choices().items()
        for choice in all_of_it
        if choice.value and (choice.value == "FILE") == files
    ]
    return " | ".join(found)


def bash() -> str:
    """Return the script for bash."""
    cases = [
        f"\t'{verb}') words='{' '.join(one.word for one in following)}' ;;"
        for verb, following in choices().items()
    ]
    return _BASH.format(
        files=_patterns(files=True),
        values=_patterns(files=False),
        cases="\n".join(cases),
    )


def zsh() -> str:
    """Return the script for zsh."""
    cases = []
    for verb, following in choices().items():
        words = [
            _quoted(f"{one.word}:{one.told}".replace("\\", "\\\\")) for one in following
        ]
        cases.append(
            f"\t'{verb}')\n\t\tchoices=(\n\t\t\t"
            + "\n\t\t\t".join(words)
            + "\n\t\t)\n\t\t;;"
        )
    return _ZSH.format(
        files=_patterns(files=True),
        values=_patterns(files=False),
        cases="\n".join(cases),
    )


def fish() -> str:
    """Return the script for fish."""
    lines = ["# Completion of bpftune for fish.", "complete -c bpftune -f"]
    seen = "__fish_seen_subcommand_from"
    for verb, following in choices().items():
        first, _, second = verb.partition(" ")
        when = f"{seen} {first}" if verb else "__fish_use_subcommand"
        if second:
            when = f"{when}; and {seen} {second}"
        elif verb == "lab":
            others = [key.partition(" ")[2] for key in choices() if " " in key]
            when = f"{when}; and not {seen} {' '.join(others)}"
        elif verb:
            when = f"{when}; and not {seen} lab"
        for one in following:
            what = f"-a {one.word}"
            if one.word.startswith("--"):
                what = f"-l {one.word[2:]}" + (" -x" if one.value else "")
                what = what.replace(" -x", " -r -F") if one.value == "FILE" else what
            told = _quoted(one.told)
            lines.append(f"complete -c bpftune -n {_quoted(when)} {what} -d {told}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return *text* in single quotes, as all three shells read it."""
    return "'" + text.replace("'", "'\\''") + "'"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}

if __name__ == "__main__":
    for shell, script in SCRIPTS.items():
        (Path(sys.argv[1]) / FILES[shell]).write_text(script())
