"""Other kernels than the running one: Debian's, each in an emulated machine.

``python -m tests.vm KERNEL...`` boots them and runs the tests there. Nobody has to
install a kernel, and whatever a test does to its machine is gone with it.
"""
