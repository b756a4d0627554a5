"""Exit codes, and errors that end a command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit code means; the same for every verb."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_DAEMON = 3
    NOT_PERMITTED = 4
    UNSUPPORTED = 5
    DRIFT = 6
    DEGRADED = 7


class CommandError(Exception):
    """A command cannot go on: *message* says what and why, *hint* what to do."""

    def __init__(
        self, message: str, hint: str = "", code: ExitCode = ExitCode.FAILED
    ) -> None:
        """Keep what is said and the exit *code*."""
        super().__init__(message)
        self.hint = hint
        self.code = code


def sentence(message: str, hint: str = "") -> str:
    """Return ``bpftune: what: why. What to do.``."""
    text = f"bpftune: {message}"
    if not hint:
        return text
    stop = "" if text.endswith((".", "?", "!")) else "."
    end = "" if hint.endswith((".", "?", "!")) else "."
    return f"{text}{stop} {hint[0].upper()}{hint[1:]}{end}"
