// SPDX-License-Identifier: GPL-2.0
/* Apply the congestion control that was decided on for a destination to the
 * connections that begin now, and add up how connections fared.
 *
 * The daemon writes the table "assignments"; here it is only read, once when a
 * connection is established and once or twice when it ends. Nothing runs per
 * packet or ACK. Connections to a destination on trial call back once per round
 * trip, as all on paths longer than a millisecond do already for tcp_buffer; for
 * the others one run of 0.1 us at their end is all there is to it, and those over a
 * shorter path are left alone.
 */
#include "maps.bpf.h"
#include "sums.bpf.h"
#include "chain.bpf.h"

/* What the admin gave the route, a number of RTAX_ from 1 up; 0: nothing. */
static __always_inline __u32 route_metric(const struct tcp_sock *tp, int number)
{
	const struct dst_entry *dst = ((const struct sock *)tp)->sk_dst_cache;
	const __u32 *metrics;
	__u32 found = 0;

	/* Read-only and not counted: dst_default_metrics, all zero. */
	if (!dst || (dst->_metrics & DST_METRICS_FLAGS) == DST_METRICS_READ_ONLY)
		return 0;
	metrics = (const __u32 *)(dst->_metrics & ~DST_METRICS_FLAGS);
	bpf_probe_read_kernel(&found, sizeof(found), metrics + number - 1);
	return found;
}

static __always_inline void set_window(struct bpf_sock_ops *ctx,
				       const struct tcp_sock *tp,
				       const struct assignment *to, __u32 *set)
{
	int window = to->initial_window;

	/* Another than the kernel's: a SYN was lost. */
	if (!window || ctx->snd_cwnd != KERNELS_WINDOW ||
	    route_metric(tp, RTAX_INITCWND))
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
	if (arms_refused && bpf_map_lookup_elem(&broken, &key))
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
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct flow flow = {};

	flow.born_ns = bpf_ktime_get_ns();
	flow.run = to->run;
	flow.initial_window = window ? window : ctx->snd_cwnd;
	flow.tell_transfers = to->tell_transfers;
	if (bpf_map_update_elem(&flows, &cookie, &flow, BPF_NOEXIST)) {
		__sync_fetch_and_add(&not_remembered, 1);
		return;
	}
	__sync_fetch_and_add(&remembered, 1);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
				       BPF_SOCK_OPS_RTT_CB_FLAG);
}

static __always_inline void forget(__u64 cookie)
{
	if (!bpf_map_delete_elem(&flows, &cookie))
		__sync_fetch_and_add(&remembered, -1);
}

/* Is it only there so that connections are added up? */
static __always_inline bool leaves_all(const struct assignment *to)
{
	return !is_changed(to) && !to->initial_window && !to->on_trial &&
	       !to->tell_transfers;
}

/* Nothing is learned of paths so short, so nothing is changed there either; but where
 * ECN is in use there may be marks to learn from. min_rtt is ~0 until it is known.
 */
static __always_inline bool is_too_near(const struct tcp_sock *tp)
{
	return tp->rtt_min.s[0].v < least_rtt_us && !(tp->ecn_flags & TCP_ECN_OK);
}

/* The kernel has taken the route's choice and the listener's by now. Who has any
 * but the namespace's default got it from the application or from the route, and
 * keeps it; so does who was given the default by them.
 */
static __always_inline void begin(struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
	const struct tcp_congestion_ops *ca;
	struct inet_connection_sock *icsk;
	struct assignment *to;
	struct path_key path;
	__u32 window = 0;

	if (!tp || is_too_near(tp) || !path_of(tp, &path))
		return;
	to = bpf_map_lookup_elem(&assignments, &path);
	if (!to)
		return;
	ca = ((struct sock *)tp)->__sk_common.skc_net.net->ipv4.tcp_congestion_control;
	if (!is_named(ca, to, false)) {
		tell_default(ca, &path);
		return;
	}
	if (leaves_all(to))
		return;
	icsk = (struct inet_connection_sock *)tp;
	if (BPF_CORE_READ_BITFIELD(icsk, icsk_ca_setsockopt) ||
	    BPF_CORE_READ_BITFIELD(icsk, icsk_ca_dst_locked) ||
	    icsk->icsk_ca_ops != ca || route_metric(tp, RTAX_CC_ALGO))
		return;
	/* Before the arm, which may begin with a pace that follows from it. */
	set_window(ctx, tp, to, &window);
	if (is_changed(to) && !set_arm(ctx, to, path.netns_cookie))
		return;
	if (to->on_trial || to->tell_transfers)
		remember(ctx, to, window);
}

static __always_inline void each_round_trip(struct bpf_sock_ops *ctx)
{
	struct path_key path;
	struct tcp_sock *tp;
	struct flow *flow;
	__u64 cookie, now;

	if (!remembered)
		return;
	cookie = bpf_get_socket_cookie(ctx);
	flow = bpf_map_lookup_elem(&flows, &cookie);
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
	tp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
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
		/* An application may connect the same socket again after
		 * connect(AF_UNSPEC), which sets all counters back.
		 */
		if (remembered)
			forget(bpf_get_socket_cookie(ctx));
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

static __always_inline void end(struct sock *sk, struct flow *flow)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((struct sock_common *)sk);
	struct sums_key key = {};
	struct assignment *to;
	struct path_key path;

	if (!tp || tp->bytes_acked < LEAST_BYTES || is_too_near(tp) ||
	    !path_of(tp, &path))
		return;
	if (flow) {
		tell(tp, flow, &path, bpf_ktime_get_ns(), true);
		tell_transfer(tp, flow, &path);
		return;
	}
	to = bpf_map_lookup_elem(&assignments, &path);
	if (!is_ours(tp, to))
		return;
	key.netns_cookie = path.netns_cookie;
	key.prefix = path.prefix;
	key.size_class = class_of(tp->bytes_acked);
	if (to) {
		key.run = to->run;
		add_settled(tp, &key);
	} else {
		add_stranger(tp, &key);
	}
}

/* Once for each socket, when it is closed and all its data was acknowledged or
 * given up: the callback for state changes would run three times.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(see_end, struct sock *sk)
{
	struct flow *flow = NULL;
	__u64 cookie = 0;

	if (remembered) {
		cookie = bpf_get_socket_cookie(sk);
		flow = bpf_map_lookup_elem(&flows, &cookie);
	}
	end(sk, flow);
	if (flow)
		forget(cookie);
	return 0;
}
