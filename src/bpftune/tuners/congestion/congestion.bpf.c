// SPDX-License-Identifier: GPL-2.0
/* Apply the congestion control that was decided on for a destination to the
 * connections that begin now, and add up how connections fared.
 *
 * The daemon writes the table "assignments"; here it is only read, once when a
 * connection is established and once or twice when it ends. Nothing runs per
 * packet or ACK. Connections to a destination on trial call back once per round
 * trip, as those on paths longer than a millisecond do already for tcp_buffer;
 * for the others one run of 0.1 us at their end is all there is to it.
 */
#include "bpftune.bpf.h"
#include "chain.bpf.h"

#define SECOND		1000000000ULL
#define NAME_BYTES	16	/* TCP_CA_NAME_MAX */
#define KERNELS_WINDOW	10	/* TCP_INIT_CWND */
#define MOST_REMEMBERED	65536
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
#define TCP_ECN_OK	1
#define WINDOWS		8

/* enum tcp_chrono: chrono_stat[] has no room for the first */
enum { CHRONO_UNSPEC, CHRONO_BUSY, CHRONO_RWND_LIMITED, CHRONO_SNDBUF_LIMITED };

const volatile __u32 tick_ns = 4000000;	/* a jiffy, set by the daemon */
const volatile __u32 least_rtt_us = 1000;	/* shorter paths are of no interest */

__u64 sums_created, strangers_created;	/* entries, ever */
__u64 remembered;			/* connections with an entry in flows */
__u64 not_remembered;			/* MOST_REMEMBERED of them were there */
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
 * congestion window of < 16, 24, 32, 48, 64, 96, 128 segments, and more.
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

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct flow);
} flows SEC(".maps");

/* Arms that failed, with the error; the daemon removes what it wants tried again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 128);
	__type(key, struct broken_key);
	__type(value, struct refusal);
} broken SEC(".maps");

/* --- names ------------------------------------------------------------------ */

static __always_inline bool same_name(const char *a, const char *b)
{
	const __u64 *left = (const __u64 *)a, *right = (const __u64 *)b;

	return left[0] == right[0] && left[1] == right[1];
}

static __always_inline bool is_named(const struct tcp_congestion_ops *ca,
				     const struct assignment *to, bool by_arm)
{
	__u64 name[2] = {};

	if (bpf_core_read(name, sizeof(name), &ca->name))
		return false;
	return same_name((const char *)name, by_arm ? to->arm : to->found);
}

static __always_inline bool is_changed(const struct assignment *to)
{
	return to->arm[0] && !same_name(to->arm, to->found);
}

/* --- sums ------------------------------------------------------------------- */

static const struct flow_sums no_sums;

#define create(map, key, counter)					\
({									\
	if (!bpf_map_update_elem(map, key, &no_sums, BPF_NOEXIST))	\
		__sync_fetch_and_add(counter, 1);			\
	(struct flow_sums *)bpf_map_lookup_elem(map, key);		\
})

static __always_inline __u32 class_of(__u64 bytes)
{
	return bytes < MEDIUM_BYTES ? 0 : bytes < LARGE_BYTES ? 1 : LARGEST;
}

static __always_inline __u32 window_class(__u32 cwnd)
{
	return cwnd < 16 ? 0 : cwnd < 24 ? 1 : cwnd < 32 ? 2 : cwnd < 48 ? 3 :
	       cwnd < 64 ? 4 : cwnd < 96 ? 5 : cwnd < 128 ? 6 : 7;
}

/* As tcp_get_info_chrono_stats(): the array lacks the running span. */
static __always_inline __u64 busy_us(const struct tcp_sock *tp)
{
	__u32 running = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	__u64 jiffies = (__u64)tp->chrono_stat[0] + tp->chrono_stat[1] +
			tp->chrono_stat[2];

	if (running != CHRONO_UNSPEC)
		jiffies += (__u32)bpf_jiffies64() - tp->chrono_start;
	return jiffies * tick_ns / 1000;
}

/* Busy time has the grain of a tick, so a transfer counts a round trip at least. */
static __always_inline __u64 floored(__u64 busy, __u32 srtt_us)
{
	return busy > srtt_us ? busy : srtt_us;
}

static __always_inline void add_end(struct flow_sums *to, const struct tcp_sock *tp,
				    __u64 life_us)
{
	__u32 window = window_class(tp->snd_cwnd);

	__sync_fetch_and_add(&to->ended, 1);
	__sync_fetch_and_add(&to->life_us, life_us);
	if (window < WINDOWS)
		__sync_fetch_and_add(&to->windows[window], 1);
}

static __always_inline void add_rtt(struct flow_sums *to, const struct tcp_sock *tp,
				    __u64 bytes)
{
	__u32 min_rtt_us = tp->rtt_min.s[0].v;

	__sync_fetch_and_add(&to->bytes_acked, bytes);
	__sync_fetch_and_add(&to->srtt_us_bytes, bytes * (tp->srtt_us >> 3));
	/* Two at once may leave the larger one: the next will put it right. */
	if (min_rtt_us && (!to->min_rtt_us || min_rtt_us < to->min_rtt_us))
		to->min_rtt_us = min_rtt_us;
}

/* Add what is new of a connection that is remembered. */
static __always_inline void tell(struct tcp_sock *tp, struct flow *flow,
				 const struct path_key *path, __u64 now, bool ends)
{
	__u64 bytes = tp->bytes_acked, life = now - flow->born_ns;
	__u32 srtt_us = tp->srtt_us >> 3, segments, retransmitted, ce;
	struct sums_key key = {};
	struct flow_sums *sum;
	__u64 busy;

	if (bytes < flow->told_bytes)
		return;	/* disconnected, and all counters set back */
	if (!flow->told)
		flow->size_class = class_of(bytes);
	key.netns_cookie = path->netns_cookie;
	key.prefix = path->prefix;
	key.run = flow->run;
	key.size_class = flow->size_class;
	sum = bpf_map_lookup_elem(&sums, &key);
	if (!sum)
		sum = create(&sums, &key, &sums_created);
	if (!sum)
		return;
	if (!flow->told && bytes < COUNTED_BYTES &&
	    life < (__u64)srtt_us * 1000 * COUNTED_RTTS) {
		__sync_fetch_and_add(&sum->small_bytes, bytes);
		return;
	}
	segments = tp->data_segs_out;
	retransmitted = tp->total_retrans;
	ce = tp->delivered_ce;
	busy = floored(busy_us(tp), srtt_us);
	if (!flow->told) {
		__sync_fetch_and_add(&sum->flows, 1);
		if (tp->ecn_flags & TCP_ECN_OK)
			__sync_fetch_and_add(&sum->ecn_flows, 1);
		if (flow->round_trips < STARTED_UP) {
			flow->early_segments = segments;
			flow->early_retransmitted = retransmitted;
		}
		__sync_fetch_and_add(&sum->early_segments, flow->early_segments);
		__sync_fetch_and_add(&sum->early_retransmitted,
				     flow->early_retransmitted);
		flow->told_segments = flow->early_segments;
		flow->told_retransmitted = flow->early_retransmitted;
	}
	add_rtt(sum, tp, bytes - flow->told_bytes);
	__sync_fetch_and_add(&sum->busy_us, busy - flow->told_busy_us);
	__sync_fetch_and_add(&sum->late_segments, segments - flow->told_segments);
	__sync_fetch_and_add(&sum->late_retransmitted,
			     retransmitted - flow->told_retransmitted);
	__sync_fetch_and_add(&sum->ce_marked, ce - flow->told_ce);
	flow->told = 1;
	flow->told_bytes = bytes;
	flow->told_busy_us = busy;
	flow->told_segments = segments;
	flow->told_retransmitted = retransmitted;
	flow->told_ce = ce;
	if (ends)
		add_end(sum, tp, life / 1000);
}

/* Whether a connection that is not remembered is one to add, by what it uses. */
static __always_inline bool is_ours(struct tcp_sock *tp, const struct assignment *to)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)tp;
	struct net *net = ((struct sock *)tp)->__sk_common.skc_net.net;
	bool is_chosen = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_setsockopt);

	if (BPF_CORE_READ_BITFIELD(icsk, icsk_ca_dst_locked))
		return false;
	if (to && to->on_trial)
		return false;	/* it began before that */
	if (to && is_changed(to))
		return is_chosen && is_named(icsk->icsk_ca_ops, to, true);
	return !is_chosen && icsk->icsk_ca_ops == net->ipv4.tcp_congestion_control;
}

static __always_inline void add_whole(struct tcp_sock *tp, struct flow_sums *to)
{
	__u64 bytes = tp->bytes_acked, busy = floored(busy_us(tp), tp->srtt_us >> 3);

	__sync_fetch_and_add(&to->flows, 1);
	if (tp->ecn_flags & TCP_ECN_OK)
		__sync_fetch_and_add(&to->ecn_flows, 1);
	add_rtt(to, tp, bytes);
	__sync_fetch_and_add(&to->busy_us, busy);
	__sync_fetch_and_add(&to->early_segments, tp->data_segs_out);
	__sync_fetch_and_add(&to->early_retransmitted, tp->total_retrans);
	__sync_fetch_and_add(&to->ce_marked, tp->delivered_ce);
	add_end(to, tp, busy);
}

/* Add a connection to a destination that is in the table but not on trial. */
static __always_inline void add_settled(struct tcp_sock *tp, struct sums_key *key)
{
	struct flow_sums *sum = bpf_map_lookup_elem(&sums, key);

	if (!sum)
		sum = create(&sums, key, &sums_created);
	if (!sum)
		return;
	if (tp->bytes_acked < COUNTED_BYTES)
		__sync_fetch_and_add(&sum->small_bytes, tp->bytes_acked);
	else
		add_whole(tp, sum);
}

/* Short transfers make no entry, so that many peers who ask for little cannot push
 * out those worth knowing.
 */
static __always_inline void add_stranger(struct tcp_sock *tp, struct sums_key *key)
{
	__u64 bytes = tp->bytes_acked;
	struct flow_sums *sum;
	bool is_bulk;

	if (tp->rtt_min.s[0].v < least_rtt_us && !tp->delivered_ce)
		return;
	sum = bpf_map_lookup_elem(&strangers, key);
	if (bytes < COUNTED_BYTES) {
		if (sum)
			__sync_fetch_and_add(&sum->small_bytes, bytes);
		return;
	}
	if (!sum)
		sum = create(&strangers, key, &strangers_created);
	if (!sum)
		return;
	add_whole(tp, sum);
	is_bulk = bytes >= LARGE_BYTES;
	if (due(key->netns_cookie ^ (is_bulk ? 0x62756c6bULL : 0x736d616c6cULL),
		is_bulk ? BULK_EVERY : OTHERS_EVERY))
		emit(struct transfers_seen, .netns_cookie = key->netns_cookie,
		     .prefix = key->prefix, .bytes_acked = bytes);
}

static __always_inline void tell_transfer(struct tcp_sock *tp, const struct flow *flow,
					  const struct path_key *path)
{
	__u32 segments = tp->data_segs_out, retransmitted = tp->total_retrans;

	/* Else one instruction may load these or flow's: the verifier minds. */
	asm volatile("" : "+r"(segments), "+r"(retransmitted));
	if (flow->round_trips >= 2) {
		segments = flow->first_segments;
		retransmitted = flow->first_retransmitted;
	}
	if (!flow->tell_transfers || tp->bytes_acked < TRANSFER_MIN ||
	    !due(path->netns_cookie ^ 0x77696e646f77ULL, TRANSFER_EVERY))
		return;
	emit(struct transfer_sent,
	     .netns_cookie = path->netns_cookie,
	     .prefix = path->prefix,
	     .bytes_acked = tp->bytes_acked,
	     .took_us = floored(busy_us(tp), tp->srtt_us >> 3),
	     .initial_segments = flow->initial_window,
	     .final_segments = tp->snd_cwnd,
	     .first_segments = segments,
	     .first_retransmitted = retransmitted);
}

static __always_inline bool path_of(struct tcp_sock *tp, struct path_key *path)
{
	struct sock *sk = (struct sock *)tp;

	__builtin_memset(path, 0, sizeof(*path));
	path->netns_cookie = sk->__sk_common.skc_net.net->net_cookie;
	return destination_prefix(sk, &path->prefix);
}

/* --- programs --------------------------------------------------------------- */

static __always_inline void set_window(struct bpf_sock_ops *ctx,
				       const struct assignment *to, __u32 *set)
{
	int window = to->initial_window;

	/* Less: a SYN was lost. Other: the route's initcwnd. */
	if (!window || ctx->snd_cwnd != KERNELS_WINDOW)
		return;
	if (bpf_setsockopt(ctx, SOL_TCP, TCP_BPF_IW, &window, sizeof(window)))
		__sync_fetch_and_add(&windows_refused, 1);
	else
		*set = window;
}

static __always_inline bool set_arm(struct bpf_sock_ops *ctx,
				    const struct assignment *to, __u64 netns_cookie)
{
	struct broken_key key = {};
	struct refusal refusal;
	int result;

	key.netns_cookie = netns_cookie;
	__builtin_memcpy(key.arm, to->arm, sizeof(key.arm));
	if (bpf_map_lookup_elem(&broken, &key))
		return false;
	result = bpf_setsockopt(ctx, SOL_TCP, TCP_CONGESTION, key.arm, sizeof(key.arm));
	if (!result)
		return true;
	__sync_fetch_and_add(&arms_refused, 1);
	refusal.error = -result;
	if (!bpf_map_update_elem(&broken, &key, &refusal, BPF_NOEXIST)) {
		struct arm_failed *event = reserve(struct arm_failed);

		if (!event)
			return false;
		event->netns_cookie = netns_cookie;
		__builtin_memcpy(event->arm, key.arm, sizeof(key.arm));
		event->error = refusal.error;
		submit(event);
	}
	return false;
}

static __always_inline void tell_default(const struct tcp_congestion_ops *ca,
					 const struct path_key *path)
{
	struct default_changed *event;

	if (!due(path->netns_cookie ^ 0x64656661756c74ULL, CHANGED_EVERY))
		return;
	event = reserve(struct default_changed);
	if (!event)
		return;
	event->netns_cookie = path->netns_cookie;
	event->prefix = path->prefix;
	bpf_core_read(event->now, sizeof(event->now), &ca->name);
	submit(event);
}

static __always_inline void remember(struct bpf_sock_ops *ctx,
				     const struct assignment *to, __u32 window)
{
	struct bpf_sock *sk = ctx->sk;
	struct flow *flow;

	if (!sk)
		return;
	if (remembered >= MOST_REMEMBERED) {
		__sync_fetch_and_add(&not_remembered, 1);
		return;
	}
	flow = bpf_sk_storage_get(&flows, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!flow)
		return;
	__sync_fetch_and_add(&remembered, 1);
	flow->born_ns = bpf_ktime_get_ns();
	flow->run = to->run;
	flow->initial_window = window ? window : ctx->snd_cwnd;
	flow->tell_transfers = to->tell_transfers;
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
				       BPF_SOCK_OPS_RTT_CB_FLAG);
}

/* An application may connect the same socket again after connect(AF_UNSPEC), which
 * sets all counters back.
 */
static __always_inline void forget_earlier(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	if (sk && !bpf_sk_storage_delete(&flows, sk))
		__sync_fetch_and_add(&remembered, -1);
}

/* The kernel has taken the route's choice and the listener's by now. Who has any
 * but the namespace's default got it from the application or from the route, and
 * keeps it.
 */
static __always_inline void begin(struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
	const struct tcp_congestion_ops *ca;
	struct inet_connection_sock *icsk;
	struct assignment *to;
	struct path_key path;
	__u32 window = 0;

	if (!tp || !path_of(tp, &path))
		return;
	to = bpf_map_lookup_elem(&assignments, &path);
	if (!to)
		return;
	icsk = (struct inet_connection_sock *)tp;
	ca = ((struct sock *)tp)->__sk_common.skc_net.net->ipv4.tcp_congestion_control;
	if (BPF_CORE_READ_BITFIELD(icsk, icsk_ca_setsockopt) ||
	    BPF_CORE_READ_BITFIELD(icsk, icsk_ca_dst_locked) ||
	    icsk->icsk_ca_ops != ca)
		return;
	if (!is_named(ca, to, false)) {
		tell_default(ca, &path);
		return;
	}
	/* Before the arm, which may begin with a pace that follows from it. */
	set_window(ctx, to, &window);
	if (is_changed(to) && !set_arm(ctx, to, path.netns_cookie))
		return;
	if (to->on_trial || to->tell_transfers)
		remember(ctx, to, window);
}

static __always_inline void each_round_trip(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct path_key path;
	struct tcp_sock *tp;
	struct flow *flow;
	__u64 now;

	flow = sk ? bpf_sk_storage_get(&flows, sk, NULL, 0) : NULL;
	if (!flow)
		return;
	if (flow->round_trips < STARTED_UP) {
		flow->round_trips++;
		/* The first begins to acknowledge the first window, and the second
		 * is over when all of it was: what it lost has been sent again.
		 */
		if (flow->round_trips == 1)
			flow->first_segments = ctx->data_segs_out;
		if (flow->round_trips == 2)
			flow->first_retransmitted = ctx->total_retrans;
		/* tcp_buffer may have cleared it: it has no use for short paths. */
		if (!(ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_RTT_CB_FLAG))
			bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
						       BPF_SOCK_OPS_RTT_CB_FLAG);
		if (flow->round_trips == STARTED_UP) {
			flow->early_segments = ctx->data_segs_out;
			flow->early_retransmitted = ctx->total_retrans;
			/* Near ones would call back 68,000 times a second. */
			if (ctx->srtt_us >> 3 < least_rtt_us)
				bpf_sock_ops_cb_flags_set(ctx,
					ctx->bpf_sock_ops_cb_flags &
					~BPF_SOCK_OPS_RTT_CB_FLAG);
		}
		return;
	}
	now = bpf_ktime_get_ns();
	if (now - flow->looked_ns < TOLD_EVERY)
		return;
	flow->looked_ns = now;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (!flow->told && class_of(tp->bytes_acked) < LARGEST &&
	    now - flow->born_ns < SIZE_KNOWN)
		return;
	if (path_of(tp, &path))
		tell(tp, flow, &path, now, false);
}

SEC("sockops")
int apply_arm(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		forget_earlier(ctx);
		begin(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		begin(ctx);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		each_round_trip(ctx);
		break;
	}
	return pass_on(ctx);
}

/* Once for each socket, when it is closed and all its data was acknowledged or
 * given up: the callback for state changes would run three times.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(see_end, struct sock *sk)
{
	struct flow *flow = bpf_sk_storage_get(&flows, sk, NULL, 0);
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((struct sock_common *)sk);
	struct sums_key key = {};
	struct assignment *to;
	struct path_key path;

	if (flow)
		__sync_fetch_and_add(&remembered, -1);
	if (!tp || tp->bytes_acked < LEAST_BYTES || !path_of(tp, &path))
		return 0;
	if (flow) {
		tell(tp, flow, &path, bpf_ktime_get_ns(), true);
		tell_transfer(tp, flow, &path);
		return 0;
	}
	to = bpf_map_lookup_elem(&assignments, &path);
	if (!is_ours(tp, to))
		return 0;
	key.netns_cookie = path.netns_cookie;
	key.prefix = path.prefix;
	key.size_class = class_of(tp->bytes_acked);
	if (to) {
		key.run = to->run;
		add_settled(tp, &key);
	} else {
		add_stranger(tp, &key);
	}
	return 0;
}
