/* SPDX-License-Identifier: GPL-2.0 */
/* The destination of a socket, as coarse as routes usually are. */
#pragma once

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_core_read.h>

/* /24 of IPv4 or /48 of IPv6, in network order; IPv4 uses the first 4 bytes. */
struct prefix {
	__u16 family;
	__u16 length;
	__u8 address[16];
};

/* Fill *prefix from the peer of sk, which must be a pointer that the verifier
 * knows (an argument, or from bpf_skc_to_tcp_sock()), not one that was read.
 * IPv4-mapped IPv6 is IPv4. Returns false, and family 0, for anything else.
 */
static __always_inline bool destination_prefix(const struct sock *sk,
					       struct prefix *prefix)
{
	__u16 family = sk->__sk_common.skc_family;
	__be32 first = sk->__sk_common.skc_daddr, second;

	__builtin_memset(prefix, 0, sizeof(*prefix));
	if (family == AF_INET6) {
		const struct in6_addr *to = &sk->__sk_common.skc_v6_daddr;

		first = to->in6_u.u6_addr32[0];
		second = to->in6_u.u6_addr32[1];
		if (!first && !second &&
		    to->in6_u.u6_addr32[2] == bpf_htonl(0xffff)) {
			first = to->in6_u.u6_addr32[3];
			family = AF_INET;
		}
	}
	if (family == AF_INET) {
		first &= bpf_htonl(0xffffff00);
		prefix->length = 24;
	} else if (family == AF_INET6) {
		second &= bpf_htonl(0xffff0000);
		__builtin_memcpy(prefix->address + 4, &second, sizeof(second));
		prefix->length = 48;
	} else {
		return false;
	}
	__builtin_memcpy(prefix->address, &first, sizeof(first));
	prefix->family = family;
	return true;
}

static __always_inline bool same_prefix(const struct prefix *a,
					const struct prefix *b)
{
	__u32 word_a, word_b;

#pragma unroll
	for (int i = 0; i < (int)sizeof(*a) / 4; i++) {
		__builtin_memcpy(&word_a, (const __u8 *)a + 4 * i, 4);
		__builtin_memcpy(&word_b, (const __u8 *)b + 4 * i, 4);
		if (word_a != word_b)
			return false;
	}
	return true;
}
