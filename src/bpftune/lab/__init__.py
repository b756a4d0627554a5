"""The laboratory: networks made for one experiment and thrown away.

    from bpftune.lab.network import Lab
    from bpftune.lab.traffic import Bulk

    with Lab() as lab:                                    # root
        a, b = lab.namespace("a"), lab.namespace("b")
        path = lab.emulated_link(a, b, rate_bits_per_s=300_000_000,
                                 rtt_ns=200_000_000)      # queue: 1 BDP
        a.set_sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304")
        b.set_sysctl("net.ipv4.tcp_rmem", "4096 131072 134217728")
        a.set_congestion_control("cubic")
        flows = lab.traffic(path, Bulk(flows=4), family=4)
        flows.wait_s(10)
        print(flows.goodput_bits_per_s(last_s=5))
        path.change(rate_bits_per_s=100_000_000, loss=0.003)   # while it runs
        flows.wait_s(10)
        print(flows.goodput_bits_per_s(last_s=5), flows.senders()[-1])

Everything ends with the ``with``; after a SIGKILL the processes die by
themselves and the next ``Lab()`` removes the namespaces.
"""
