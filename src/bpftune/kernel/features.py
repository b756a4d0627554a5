"""What this kernel and this machine can do, probed and never guessed."""

from __future__ import annotations

import ctypes
import errno
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.bpf_error import BpfError
from bpftune.kernel.errors import KernelError
from bpftune.kernel.libbpf import LibbpfMissing, last_error, libbpf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TYPEDEF = 8  # BTF_KIND_TYPEDEF
_TRACING = 26  # BPF_PROG_TYPE_TRACING's older sibling is 17
