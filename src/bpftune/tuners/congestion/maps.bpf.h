/* SPDX-License-Identifier: GPL-2.0 */
/* What congestion.bpf.c reads, adds up and tells; see maps.py. */
#pragma once

#include "bpftune.bpf.h"

#define SECOND		1000000000ULL
#define NAME_BYTES	16	/* TCP_CA_NAME_MAX */
#define KERNELS_WINDOW	10	/* TCP_INIT_CWND */
#define MOST_REMEMBERED	4096
#define STARTED_UP	20	/* round trips: BBR's STARTUP is over by then */
#define TOLD_EVERY	SECOND	/* while a connection lasts */
#define SIZE_KNOWN	(30 * SECOND)	/* or as soon as it is of the largest class */
#define LEAST_BYTES	4096
#define COUNTED_BYTES	100000
#define COUNTED_RTTS	10
#define MEDIUM_BYTES	(256 << 10)
#define LARGE_BYTES	(2 << 20)
#define LARGEST		2
#define BULK_EVERY	(10 * SECOND)
#define OTHERS_EVERY	(60 * SECOND)
#define TRANSFER_MIN	15000
#define TRANSFER_EVERY	(SECOND / 4)
#define CHANGED_EVERY	(5 * SECOND)
#define BEGUN_EVERY	(SECOND / 2)
#define TCP_ECN_OK	1
#define WINDOWS		8

/* enum tcp_chrono: chrono_stat[] has no room for the first */
enum { CHRONO_UNSPEC, CHRONO_BUSY, CHRONO_RWND_LIMITED, CHRONO_SNDBUF_LIMITED };

const volatile __u32 tick_ns = 4000000;	/* a jiffy, set by the daemon */
const volatile __u32 least_rtt_us = 1000;	/* shorter paths are of no interest */

__u64 sums_created, strangers_created;	/* entries, ever */
__u64 remembered;			/* entries in flows, and those dropped */
__u64 not_remembered;			/* there was no room in flows */
__u64 windows_refused, arms_refused;	/* by the kernel */

struct path_key {
	__u64 netns_cookie;
	struct prefix prefix;
};

/* What was decided for a destination. Names are padded with zeros; found is the
 * namespace's default at that time, and arm is empty where it is to stay.
 * run is the daemon's number of this decision: connections that began under one run
 * are added up under it, however many come after.
 */
struct assignment {
	char arm[NAME_BYTES];
	char found[NAME_BYTES];
	__u32 run;
	__u32 on_trial;
	__u32 initial_window;	/* segments; 0: the kernel's */
	__u32 tell_transfers;	/* one by one */
};

/* 0: < 256 KiB, 1: < 2 MiB, 2: more. run is 0 among strangers. */
struct sums_key {
	__u64 netns_cookie;
	struct prefix prefix;
	__u32 run;
	__u32 size_class;
};

/* Sums over the connections to a destination of one run. early: up to the 20th
 * round trip, or all where that is not known. windows: how many ended with a
 * congestion window of < 16, 24, 32, 48, 64, 96, 128 segments, and more. device is
 * the index of the one that the last connection left by; 0 where that is not known.
 */
struct flow_sums {
	__u64 bytes_acked;
	__u64 busy_us;
	__u64 srtt_us_bytes;	/* each byte counts the srtt at its time */
	__u64 life_us;		/* of those that ended */
	__u64 small_bytes;	/* of connections too short to count */
	__u64 early_segments;
	__u64 early_retransmitted;
	__u64 late_segments;	/* after the 20th round trip */
	__u64 late_retransmitted;
	__u64 ce_marked;
	__u32 flows;
	__u32 ended;
	__u32 ecn_flows;
	__u32 min_rtt_us;
	__u32 device;
	__u32 windows[WINDOWS];
};

/* A connection whose destination is on trial, and what was told of it. */
struct flow {
	__u64 born_ns;
	__u64 looked_ns;	/* when it was last thought of telling */
	__u64 told_bytes;
	__u64 told_busy_us;
	__u32 told_segments;
	__u32 told_retransmitted;
	__u32 told_ce;
	__u32 told;		/* anything yet */
	__u32 early_segments;
	__u32 early_retransmitted;
	__u32 round_trips;
	__u32 run;
	__u32 size_class;
	__u32 initial_window;
	__u32 tell_transfers;
	__u32 first_segments;	/* of the first round trip */
	__u32 first_retransmitted;
};

struct broken_key {
	__u64 netns_cookie;
	char arm[NAME_BYTES];
};

struct refusal {
	__u32 error;
};

/* --- events ----------------------------------------------------------------- */

/* The kernel refused to use arm; it is not tried again until the daemon says so. */
struct arm_failed {
	__u64 netns_cookie;
	char arm[NAME_BYTES];
	__u32 error;
};

/* The namespace's default is not what it was when this was decided. */
struct default_changed {
	__u64 netns_cookie;
	struct prefix prefix;
	char now[NAME_BYTES];
};

/* There are transfers to destinations for which nothing was decided. */
struct transfers_seen {
	__u64 netns_cookie;
	struct prefix prefix;
	__u64 bytes_acked;	/* of the one that ended now */
};

/* There is something in sums: an entry was made. */
struct sums_begun {
	__u64 netns_cookie;
	struct prefix prefix;
};

/* A transfer ended whose destination has them told one by one. */
struct transfer_sent {
	__u64 netns_cookie;
	struct prefix prefix;
	__u64 bytes_acked;
	__u64 took_us;	/* with something to send or unacknowledged */
	__u32 initial_segments;
	__u32 final_segments;
	__u32 first_segments;	/* of the first round trip */
	__u32 first_retransmitted;
};

/* --- maps ------------------------------------------------------------------- */

/* Written by the daemon only, so a hash: nobody else can push entries out. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct path_key);
	__type(value, struct assignment);
} assignments SEC(".maps");

/* Of destinations in assignments; strangers are all others, who may be many and
 * must not push these out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct sums_key);
	__type(value, struct flow_sums);
} sums SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct sums_key);
	__type(value, struct flow_sums);
} strangers SEC(".maps");

/* By socket cookie. To keep it with the socket (BPF_MAP_TYPE_SK_STORAGE) takes 2 us
 * more for each connection, to allocate it and to give it back. A program that
 * traces is left out if it interrupts itself, so an end may be missed, and what is
 * not needed any more has to go by itself.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MOST_REMEMBERED);
	__type(key, __u64);
	__type(value, struct flow);
} flows SEC(".maps");

/* Arms that failed, with the error; the daemon removes what it wants tried again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 128);
	__type(key, struct broken_key);
	__type(value, struct refusal);
} broken SEC(".maps");
