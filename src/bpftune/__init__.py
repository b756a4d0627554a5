"""An always-on daemon that watches Linux with BPF and tunes it."""

__version__ = "0.1.0"
