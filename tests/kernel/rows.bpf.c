// SPDX-License-Identifier: GPL-2.0
/* Maps with structs for keys and values; there is padding in place and content. */
#include "bpftune.bpf.h"

struct place {
	__u64 netns_cookie;
	struct prefix prefix;
};

struct content {
	char name[16];
	__s32 negative;
	__u16 ports[3];
} __attribute__((aligned(8)));

struct number {
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1000);
	__type(key, struct place);
	__type(value, struct content);
} rows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, struct number);
	__type(value, struct content);
} one_row SEC(".maps");
