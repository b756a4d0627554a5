"""Reusable decisions: pure functions and plain values, no clock, no I/O."""
