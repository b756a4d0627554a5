"""The verbs about the running daemon: their options, and who carries them out."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from bpftune.cli import VERBS
from bpftune.cli.errors import CommandError, ExitCode
from bpftune.cli.names import destination_name, netns_name, tunable_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FUNCTIONS = {
    "status": "bpftune.cli.status:status",
    "history": "bpftune.cli.story:history",
    "explain": "bpftune.cli.story:explain",
    "advise": "bpftune.cli.advice:advise",
    "apply": "bpftune.cli.advice:apply",
    "ignore": "bpftune.cli.advice:ignore",
    "verify": "bpftune.cli.status:verify",
    "rollback": "bpftune.cli.undo:rollback",
    "pause": "bpftune.cli.hands:pause",
    "resume": "bpftune.cli.hands:resume",
    "adopt": "bpftune.cli.hands:adopt",
    "persist": "bpftune.cli.persist:persist",
    "watch": "bpftune.cli.stream:watch",
    "metrics": "bpftune.cli.stream:metrics",
}

_ABOUT = {
    "status": "One screen: what is tuned, what is in force, what was lost, what it "
    "costs. Exit code 7 if something does not work.",
    "history": "Every decision, oldest first: what, why, and what came of it. "
    "Without a daemon, root reads it from the history file.",
    "explain": "The whole story of a change, a tunable or a destination: seen, "
    "predicted, measured before and after, kept or not, and how to undo it.",
    "advise": "What would be changed: by observe, or because only you may choose. "
    "Exit code 6 if there is any advice that is not ignored.",
    "apply": "Do what an advice says.",
    "ignore": "Do not tell of an advice again.",
    "verify": "Compare the kernel's values with those that were set. Exit code 6 if "
    "one differs.",
    "rollback": "Put back the values found at first, where they are ours still. What "
    "somebody set since is left alone. It works without a daemon too.",
    "pause": "Change nothing more: of one tuner, tunable or namespace, or at all. "
    "Values in force stay.",
    "resume": "Tune again what was paused.",
    "adopt": "Give a tunable that is yours back to bpftune.",
    "persist": "Write the values in force on the host to a file in /etc/sysctl.d, so "
    "that they are there from the next boot on.",
    "watch": "Show decisions as they are made, until Ctrl-C.",
    "metrics": "Print the metrics as OpenMetrics text.",
}


Verbs = dict[str, argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """An argparse that says what is wrong as all of this command does."""

    def error(self, message: str) -> NoReturn:
        """Raise CommandError."""
        raise CommandError(message, f"see {self.prog} --help", ExitCode.USAGE)


def parser() -> Parser:
    """Return the parser of these verbs; ``function`` is who carries them out."""
    top = Parser(prog="bpftune", allow_abbrev=False)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    of: Verbs = {
        name: verbs.add_parser(
            name,
            help=VERBS[name].summary,
            description=_ABOUT[name],
            allow_abbrev=False,
        )
        for name in FUNCTIONS
    }
    for name in ("history", "explain"):
        of[name].epilog = "On a terminal a long answer goes through $PAGER."
    _choose(of)
    _change(of)
    for name, verb in of.items():
        verb.set_defaults(function=FUNCTIONS[name])
        each = "one JSON object a line" if name == "watch" else "one JSON object"
        verb.add_argument("--json", action="store_true", help=f"for machines: {each}")
    return top


def _choose(of: Verbs) -> None:
    """Add what chooses among the things to look at."""
    history = of["history"]
    history.add_argument(
        "--since", metavar="WHEN", help="90s, 30min, 2h, 7d ago, or an RFC 3339 time"
    )
    history.add_argument("--limit", metavar="N", type=count, help="the last N only")
    for name in ("history", "rollback"):
        _tunable(of[name], "--tunable", "this tunable only")
        of[name].add_argument(
            "--netns",
            metavar="NAME",
            type=netns_name,
            help="this network namespace only: host, a name or a cookie",
        )
    of["explain"].add_argument(
        "about",
        metavar="CHANGE|TUNABLE|PREFIX",
        type=lambda word: destination_name(tunable_name(word)),
        help="an id such as c17, a sysctl, or a destination such as 203.0.113.0/24",
    )
    of["advise"].add_argument(
        "--all", action="store_true", dest="ignored", help="also what is ignored"
    )


def _change(of: Verbs) -> None:
    """Add what tells what to change."""
    for name in ("apply", "ignore"):
        of[name].add_argument("id", metavar="ID", help="as advise shows it")
    rollback = of["rollback"]
    rollback.add_argument(
        "change", metavar="CHANGE", nargs="?", help="such as c17: what it set"
    )
    rollback.add_argument(
        "--all", action="store_true", dest="everything", help="all that is in force"
    )
    for name in ("rollback", "persist"):
        of[name].add_argument(
            "--dry-run", action="store_true", help="only tell what it would do"
        )
    for name in ("pause", "resume"):
        of[name].add_argument(
            "what",
            nargs="?",
            metavar="TUNER|TUNABLE|NETNS",
            type=tunable_name,
            help="everything, if left out",
        )
    _tunable(of["adopt"], "tunable", "such as net.ipv4.tcp_wmem")
    of["adopt"].add_argument(
        "--netns",
        metavar="NAME",
        type=netns_name,
        help="in this namespace only; else wherever it is",
    )
    of["persist"].add_argument(
        "--file", metavar="FILE", help="instead of /etc/sysctl.d/90-bpftune.conf"
    )


def _tunable(verb: argparse.ArgumentParser, name: str, told: str) -> None:
    verb.add_argument(name, metavar="TUNABLE", type=tunable_name, help=told)


def count(text: str) -> int:
    """Return *text* as a number of things. Raises ValueError below 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def ask(words: Sequence[str]) -> int:
    """Carry out the verb that *words* begin with; return the exit code."""
    try:
        options = vars(parser().parse_args(words))
    except SystemExit:  # after --help
        return ExitCode.OK
    del options["verb"]
    module, _, name = options.pop("function").partition(":")
    function: Callable[..., int] = getattr(import_module(module), name)
    return function(**options)
