// SPDX-License-Identifier: GPL-2.0
/* For the tests: programs that a kernel refuses, each in its own way, and some
 * that it takes.
 */
#include "bpftune.bpf.h"

struct was_here {
	__u64 netns_cookie;
};

struct net___other {
	int no_such_field;
} __attribute__((preserve_access_index));

__u64 table[4];

SEC("syscall")
int say_so(void *ctx)
{
	emit(struct was_here, .netns_cookie = 1);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int fits(void *ctx)
{
	return 0;
}

SEC("tp_btf/no_such_thing")
int lacks_hook(void *ctx)
{
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(lacks_field, struct sock *sk)
{
	struct net___other *net = (void *)sk->__sk_common.skc_net.net;

	return net->no_such_field;
}

SEC("tp_btf/inet_sock_set_state")
int reads_anywhere(void *ctx)
{
	return table[bpf_get_prandom_u32()];
}

SEC("sockops")
int in_cgroup(struct bpf_sock_ops *ctx)
{
	return 1;
}

SEC("iter/task")
int walks(struct bpf_iter__task *ctx)
{
	return 0;
}
