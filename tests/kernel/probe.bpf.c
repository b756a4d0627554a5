// SPDX-License-Identifier: GPL-2.0
/* For the tests: events, globals and maps of every kind, and programs that a
 * kernel can refuse.
 */
#include "bpftune.bpf.h"

struct inner {
	__u8 small;
	__s32 number;
};

/* There is padding after small, and inside inner. */
struct thing_seen {
	__u64 netns_cookie;
	__u8 small;
	__s64 negative;
	char comm[16];
	__u16 ports[3];
	struct inner inner;
	bool yes;
};

struct filler_sent {
	__u64 netns_cookie;
	__u64 words[120];
};

const volatile __u8 const8;
const volatile __s16 const16;
const volatile __u32 const32;
const volatile __u64 const64;
__u64 live;
__s32 in_data = -5;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

SEC("syscall")
int send_thing(void *ctx)
{
	emit(struct thing_seen,
	     .netns_cookie = 7,
	     .small = const8,
	     .negative = const16,
	     .comm = "probe",
	     .ports = { 1, 2, 65535 },
	     .inner = { .small = 9, .number = -3 },
	     .yes = true);
	return 0;
}

SEC("syscall")
int send_reserved(void *ctx)
{
	struct thing_seen *thing = reserve(struct thing_seen);

	if (!thing)
		return -1;
	thing->netns_cookie = const64;
	bpf_get_current_comm(thing->comm, sizeof(thing->comm));
	submit(thing);
	return 0;
}

SEC("syscall")
int send_filler(void *ctx)
{
	struct filler_sent *filler = reserve(struct filler_sent);

	if (!filler)
		return -1;
	__builtin_memset(filler->words, 0xff, sizeof(filler->words));
	submit(filler);
	return 0;
}

SEC("syscall")
int send_garbage(void *ctx)
{
	struct {
		struct event_header header;
		__u64 body;
	} garbage = { .header = { .tuner_id = 99, .type_id = 1 } };

	bpf_ringbuf_output(&events, &garbage, sizeof(garbage), 0);
	garbage.header.tuner_id = tuner_id;
	garbage.header.type_id = bpf_core_type_id_local(struct thing_seen);
	bpf_ringbuf_output(&events, &garbage, sizeof(garbage), 0);
	return 0;
}

SEC("syscall")
int count_up(void *ctx)
{
	live += const32;
	return in_data;
}

SEC("syscall")
int ask_due(void *ctx)
{
	return due(1, 3600 * 1000000000ULL);
}
