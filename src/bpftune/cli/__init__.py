"""The command ``bpftune``: one verb each for what people do.

The daemon comes through here too, so only what every verb needs is imported,
and the command line is read by hand: argparse would stay in the daemon's
memory for good.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bpftune import __version__
from bpftune.cli.errors import CommandError, ExitCode, sentence
from bpftune.kernel.errors import (
    KernelError,
    NotPermittedError,
    UnsupportedError,
)
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: what it does, in a line, and the function that does it.

    *function* is ``module:name``, imported when it is used and called with
    ``json=``; for a verb with a command line of its *own*, with the words.
    Without one it is a verb of ``bpftune.cli.verbs``.
    """

    summary: str
    function: str = ""
    needs_root: bool = False
    own: bool = False


VERBS = {
    "run": Verb("tune this machine, in the foreground", "bpftune.cli:run", True),
    "observe": Verb(
        "the same without a single write: tell what it would do",
        "bpftune.cli:observe",
        needs_root=True,
    ),
    "check": Verb(
        "can this kernel do it? per tuner and BPF program",
        "bpftune.cli.check:check",
        needs_root=True,
    ),
    "tuners": Verb("the tuners that there are", "bpftune.cli.tunables:tuners"),
    "tunables": Verb(
        "what they would touch, and its value on the host",
        "bpftune.cli.tunables:tunables",
    ),
    "status": Verb("one screen: what is in force, and how it goes"),
    "history": Verb("every decision, why, and what came of it"),
    "explain": Verb("the whole story of a change, a tunable or a destination"),
    "advise": Verb("what it would change, and what only you may"),
    "apply": Verb("do what an advice says"),
    "ignore": Verb("do not tell of an advice again"),
    "verify": Verb("are the values still those that were set?"),
    "rollback": Verb("put back the values found at first"),
    "pause": Verb("hands off: change nothing more"),
    "resume": Verb("tune again what was paused"),
    "adopt": Verb("give a tunable of yours back to bpftune"),
    "persist": Verb("keep what is in force over a reboot"),
    "watch": Verb("show decisions as they are made"),
    "metrics": Verb("OpenMetrics text"),
    "lab": Verb(
        "prove it in throw-away network namespaces",
        "bpftune.cli.lab:lab_main",
        own=True,
    ),
}

_USAGE = """\
Usage: bpftune [VERB] [--json]

Without a verb, as with run, it tunes this machine until it is stopped.

{verbs}

  --json     for machines: one JSON object, or one a line
  --version  print the version
  --help     print this; after a verb, what it takes

Manual: man bpftune. What not to tune is said with sysctl: set it yourself,
or in /etc/sysctl.d, and bpftune leaves it alone.
"""


def usage() -> str:
    """Return the text of ``--help``."""
    lines = [f"  {name:<9}  {verb.summary}" for name, verb in VERBS.items()]
    return _USAGE.format(verbs="\n".join(lines))


def _call(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def run(*, json: bool = False) -> int:
    """Run the daemon."""
    return int(_call("bpftune.run:run")(observe=False, json=json))


def observe(*, json: bool = False) -> int:
    """Run the daemon without a single write."""
    return int(_call("bpftune.run:run")(observe=True, json=json))


def _usage_error(message: str, hint: str = "see bpftune --help") -> CommandError:
    return CommandError(message, hint, ExitCode.USAGE)


def _verb(name: str) -> Verb:
    if name in VERBS:
        return VERBS[name]
    from difflib import get_close_matches  # noqa: PLC0415 - only after a mistake

    near = get_close_matches(name, VERBS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"verbs are {', '.join(VERBS)}"
    raise _usage_error(f"{printable(name)} is no verb", hint)


def _split(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the verb's name, wherever it stands, and the other words."""
    rest = list(words)
    for number, word in enumerate(rest):
        if word.startswith("-"):
            continue
        if word != "help":
            return word, [*rest[:number], *rest[number + 1 :]]
        about = rest[number + 1 :][:1]
        return about[0] if about else "run", ["--help"]
    return "run", rest


def _dispatch(words: Sequence[str]) -> int:
    name, options = _split(words)
    verb = _verb(name)
    if not verb.function:
        return int(_call("bpftune.cli.verbs:ask")([name, *options]))
    if verb.own and (words[0] == name or words[0] == "help"):
        return int(_call(verb.function)(options))
    if "--help" in options or "-h" in options:
        sys.stdout.write(usage())
        return ExitCode.OK
    if "--version" in options:
        sys.stdout.write(f"bpftune {__version__}\n")
        return ExitCode.OK
    if verb.own:
        raise _usage_error(f"options of {name} come after it")
    for word in options:
        if word in VERBS:
            raise _usage_error(f"one verb at a time: {name} or {word}")
        if word != "--json":
            raise _usage_error(f"{name} has no option {printable(word)}")
    if verb.needs_root and os.geteuid() != 0:
        raise CommandError(
            f"{name}: not permitted: it loads BPF programs, which takes root",
            f"run it with sudo: sudo bpftune {name}",
            ExitCode.NOT_PERMITTED,
        )
    return int(_call(verb.function)(json="--json" in options))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the words *argv*; return its exit code."""
    try:
        code = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except CommandError as error:
        return _fail(sentence(str(error), error.hint), error.code)
    except KernelError as error:
        return _fail(sentence(str(error), error.hint), _code(error))
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain when
        # it flushes standard output at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it
    return code


def _code(error: KernelError) -> ExitCode:
    if isinstance(error, UnsupportedError):
        return ExitCode.UNSUPPORTED
    if isinstance(error, NotPermittedError):
        return ExitCode.NOT_PERMITTED
    return ExitCode.FAILED


def _fail(text: str, code: ExitCode) -> int:
    sys.stderr.write(one_line(text) + "\n")
    return code
