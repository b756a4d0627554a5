/* SPDX-License-Identifier: GPL-2.0 */
/* What every tuner's BPF side shares: the ring buffer, emit(), due() and the
 * destination prefix.
 */
#pragma once

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

/* One ring buffer for all tuners; the daemon makes their objects share it. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 128 * 1024);
} events SEC(".maps");

const volatile __u32 tuner_id;	/* set by the daemon before load */
__u64 lost_events;		/* those for which the ring buffer had no room */

/* Precedes every event. type_id is the event struct's id in the BTF of the
 * object that sent it, so no enum has to be kept in step with user space.
 */
struct event_header {
	__u32 tuner_id;
	__u32 type_id;
};

static __always_inline void *reserve_event(__u32 type_id, __u64 size)
{
	struct event_header *header;

	header = bpf_ringbuf_reserve(&events, sizeof(*header) + size, 0);
	if (!header) {
		__sync_fetch_and_add(&lost_events, 1);
		return NULL;
	}
	header->tuner_id = tuner_id;
	header->type_id = type_id;
	/* The ring holds old events: padding must not carry them along. */
	__builtin_memset(header + 1, 0, size);
	asm volatile("" ::: "memory");
	return header + 1;
}

/* reserve(struct my_event) gives a zeroed event to fill in, or NULL when the
 * ring buffer is full, which is counted. submit() sends it and must follow.
 */
#define reserve(type)							\
({									\
	_Static_assert(sizeof(type) <= 1024, "an event has at most 1 KiB"); \
	(type *)reserve_event(bpf_core_type_id_local(type), sizeof(type)); \
})

static __always_inline void submit(void *event)
{
	bpf_ringbuf_submit((struct event_header *)event - 1, 0);
}

/* emit(struct my_event, .field = value, ...) sends one event to user space.
 * A full ring buffer drops it: tuning can wait, the traced code cannot.
 */
#define emit(type, ...)							\
({									\
	type *event_ = reserve(type);					\
									\
	if (event_) {							\
		*event_ = (type){ __VA_ARGS__ };			\
		submit(event_);						\
	}								\
})

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} last_sent SEC(".maps");

/* At most one event per key and interval: true when it is time for one. Two
 * processors at once may both see true.
 */
static __always_inline bool due(__u64 key, __u64 interval_ns)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 *last = bpf_map_lookup_elem(&last_sent, &key);

	if (last) {
		if (now - *last < interval_ns)
			return false;
		*last = now;
		return true;
	}
	bpf_map_update_elem(&last_sent, &key, &now, BPF_ANY);
	return true;
}

#include "prefix.bpf.h"
