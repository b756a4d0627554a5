// SPDX-License-Identifier: GPL-2.0
/* Notice connections that failed because no local port was free. */
#include "bpftune.bpf.h"

#define SECOND 1000000000ULL

/* connect() found every port of net.ipv4.ip_local_port_range in use. */
struct ports_exhausted {
	__u64 netns_cookie;
	struct prefix destination;
};

/* Fields that bpftune's kernel.bpf.h has no use for. What follows ___ in a
 * name is not compared with the kernel's.
 */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock___ports {
	int sk_err;
};

struct inet_sock {
	__be16 inet_sport;
};

#pragma clang attribute pop

/* A connection that is refused, or times out, has a port and an error when it
 * closes; one that never got a port has neither.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(see_no_port, struct sock *sk, int oldstate, int newstate)
{
	struct ports_exhausted *event;
	__u64 cookie;

	if (oldstate != TCP_SYN_SENT || newstate != TCP_CLOSE)
		return 0;
	if (BPF_CORE_READ((struct sock___ports *)sk, sk_err) ||
	    BPF_CORE_READ((struct inet_sock *)sk, inet_sport))
		return 0;
	cookie = sk->__sk_common.skc_net.net->net_cookie;
	if (!due(cookie, SECOND))
		return 0;
	event = reserve(struct ports_exhausted);
	if (!event)
		return 0;
	event->netns_cookie = cookie;
	destination_prefix(sk, &event->destination);
	submit(event);
	return 0;
}
