"""Compile the BPF programs when a wheel is built or installed for development.

``python hatch_build.py`` does the same in place, without hatchling.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "src"))

from bpftune.compile import CompileError, compile_all, main  # noqa: E402 - path above

if TYPE_CHECKING:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    Hook = BuildHookInterface[Any]
else:
    try:
        from hatchling.builders.hooks.plugin.interface import BuildHookInterface as Hook
    except ImportError:  # run as a script
        Hook = object


class CompileBpf(Hook):
    """Hatchling's name for it is "custom"; see pyproject.toml."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Compile into the source tree, from where objects go into the wheel."""
        try:
            compile_all(ROOT / "src")
        except CompileError as error:
            self.app.abort(str(error))


if __name__ == "__main__":
    sys.exit(main([str(ROOT / "src")]))
