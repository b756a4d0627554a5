// SPDX-License-Identifier: GPL-2.0
/* For the tests: an object that no kernel takes, whatever is left out of it. */
#include "bpftune.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 0);
	__type(key, __u32);
	__type(value, __u32);
} odd SEC(".maps");

SEC("syscall")
int first(void *ctx)
{
	__u32 key = 0;

	return bpf_map_delete_elem(&odd, &key);
}

SEC("syscall")
int second(void *ctx)
{
	return 0;
}
