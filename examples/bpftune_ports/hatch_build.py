"""Compile the BPF program while the package is built, with bpftune's own step.

bpftune has to be there: pip install --no-build-isolation .
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

from bpftune.compile import CompileError, compile_all


class CompileBpf(BuildHookInterface[Any]):
    """Hatchling's name for it is "custom"; see pyproject.toml."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Compile into the source tree, from where objects go into the wheel."""
        try:
            compile_all(Path(self.root, "src"))
        except CompileError as error:
            self.app.abort(str(error))
