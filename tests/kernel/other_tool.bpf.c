// SPDX-License-Identifier: GPL-2.0
/* Another program on the same connections, with callbacks of its own. */
#include "bpftune.bpf.h"

const volatile __u64 sender, receiver;	/* cookies of network namespaces */
__u64 states;

SEC("sockops")
int count_states(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);

	if (cookie != sender && cookie != receiver)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
					       BPF_SOCK_OPS_STATE_CB_FLAG);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		__sync_fetch_and_add(&states, 1);
		break;
	}
	return 1;
}
