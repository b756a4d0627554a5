/* SPDX-License-Identifier: GPL-2.0 */
/* One sockops program for all tuners, as far as the kernel is concerned.
 *
 * The kernel calls every attached sockops program nine times for a connection that
 * carries nothing, both ends counted. So only the first tuner's is attached. It ends
 * with a tail call to the next one's, and so on: that is no further run, and takes
 * some nanoseconds instead of a tenth of a microsecond.
 */
#pragma once

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>

/* The daemon puts the programs in and makes their objects share this. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 32);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} sockops_chain SEC(".maps");

const volatile __u32 sockops_next;	/* set by the daemon before load */

/* Every SEC("sockops") program of a tuner has to end with return pass_on(ctx). */
static __always_inline int pass_on(struct bpf_sock_ops *ctx)
{
	bpf_tail_call(ctx, &sockops_chain, sockops_next);
	return 1;	/* there is no next one */
}
