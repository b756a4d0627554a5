// SPDX-License-Identifier: GPL-2.0
/* Does this kernel let a program walk over the elements of a map at all? */
#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("iter/bpf_sk_storage_map")
int walk_nothing(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	return 0;
}
