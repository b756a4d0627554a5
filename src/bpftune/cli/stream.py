"""``bpftune watch`` and ``bpftune metrics``: as it happens, and in numbers."""

from __future__ import annotations

import json as json_text
import sys

from bpftune.cli.client import call, stream
from bpftune.cli.errors import ExitCode
from bpftune.cli.sentences import local_time, sentence
from bpftune.cli.terminal import is_terminal, say_json, say_wrapped


def watch(*, json: bool = False) -> int:
    """Show each decision as it is made. It ends with the daemon, or by Ctrl-C."""
    if is_terminal() and not json:
        sys.stderr.write("What bpftune decides from now on; Ctrl-C ends this.\n")
    for reply in stream("Watch"):
        record = reply["record"]
        if json:
            sys.stdout.write(json_text.dumps(record) + "\n")
        else:
            time = local_time(record.get("time")).rpartition(" ")[2]
            say_wrapped(f"{time}  ", sentence(record, with_undo=True))
        sys.stdout.flush()
    return ExitCode.OK


def metrics(*, json: bool = False) -> int:
    """Print OpenMetrics text."""
    answer = call("Metrics")
    if json:
        say_json(answer)
    else:
        sys.stdout.write(answer["text"])
    return ExitCode.OK
