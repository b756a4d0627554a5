"""Who causes events: a name that no other soak on this machine has.

The tuner is told by a header, so that the daemon need not make such a name.
"""

from __future__ import annotations

import secrets

READER = f"soak{secrets.token_hex(4)}"
"""What a task has to be called."""

HEADER = {"reader.bpf.h": f'#define READER "{READER}"\n'}
"""What belongs beside the source of the BPF program."""
