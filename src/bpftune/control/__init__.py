"""The control socket: what ``bpftune status`` and the other verbs talk to.

    client --bytes--> framing --call--> service --> daemon
                        server (access, limits)

``framing``, ``interface``, ``access`` and ``redact`` are pure; ``server`` does
the I/O inside the daemon's loop; ``service`` has the methods.
"""
