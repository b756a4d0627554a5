"""Mechanism: all that touches the kernel, and nothing that decides."""
