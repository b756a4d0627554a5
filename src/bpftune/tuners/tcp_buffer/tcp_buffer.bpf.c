// SPDX-License-Identifier: GPL-2.0
/* Notice TCP senders that net.ipv4.tcp_wmem seems to hold back, and receivers
 * that may be held back by net.ipv4.tcp_rmem.
 *
 * A hint only: the daemon then looks closer. Nothing runs per packet or ACK:
 * the kernel calls back once per round trip, and not at all on paths shorter
 * than a millisecond, where a buffer of any size is enough.
 */
#include "bpftune.bpf.h"
#include "chain.bpf.h"

#define SECOND		1000000000ULL
#define HINT_EVERY	(5 * SECOND)
#define LEAST_RTT_US	1000
#define MIN_BYTES	30000	/* less says nothing yet about a path */
#define INITIAL_ENOUGH	(128 << 10)	/* no first window is larger than half of it */
#define TRANSFER_MIN	15000
#define TRANSFER_MAX	500000
#define TRANSFER_EVERY	(SECOND / 4)
#define SMALL_LATELY	(240 * SECOND)

const volatile __u32 no_cgroup2;	/* there is nobody to call back */

/* A sender looked held back by tcp_wmem[2] at the end of a round trip. */
struct sndbuf_limited {
	__u64 netns_cookie;
	struct prefix prefix;
	__u32 limit_bytes;
	__u32 min_rtt_us;
};

/* We cannot be called back for the sockets here, so look at them regularly. */
struct cannot_opt_in {
	__u64 netns_cookie;
};

/* A receiver's buffer has grown to tcp_rmem[2], or it is_fixed: at tcp_rmem[1],
 * with tcp_moderate_rcvbuf off. Whether that holds it back is another question.
 */
struct rcvbuf_limited {
	__u64 netns_cookie;
	struct prefix prefix;
	__u32 limit_bytes;
	__u32 min_rtt_us;
	__u32 is_fixed;
};

/* There are connections over a path that is not short. */
struct connected {
	__u64 netns_cookie;
};

/* A connection got all of a transfer of 15 to 500 kB, and one side closed it. It began
 * with a receive buffer below INITIAL_ENOUGH, or others here did lately.
 */
struct transferred {
	__u64 netns_cookie;
	struct prefix prefix;
	__u32 initial_bytes;
	__u32 bytes_received;
	__u32 took_us;
};

struct birth {
	__u64 at_ns;
	__u64 initial_bytes;
};

/* How connections began, by socket cookie, where transfers are compared. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct birth);
} births SEC(".maps");

/* When a connection last began with less than INITIAL_ENOUGH, by netns cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u64);
} small_ones SEC(".maps");

/* The queue tells: nearly full, nearly all of it sent, and the congestion
 * window has room. A blocked writer is woken when a third is free.
 */
static __always_inline bool is_held_back(struct tcp_sock *tp, __u32 limit)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)tp;
	struct sock *sk = (struct sock *)tp;
	__u32 sndbuf = sk->sk_sndbuf;
	__u32 queued = sk->sk_wmem_queued;
	__u32 in_flight;

	if (sndbuf < limit - limit / 50 || (__u64)queued * 10 < (__u64)sndbuf * 6)
		return false;
	if ((__u64)(tp->write_seq - tp->snd_nxt) * 10 > queued)
		return false;
	in_flight = tp->packets_out - tp->sacked_out - tp->lost_out + tp->retrans_out;
	if ((__u64)in_flight * 10 >= (__u64)tp->snd_cwnd * 9)
		return false;
	if (BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state) != TCP_CA_Open)
		return false;
	return !(BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_SNDBUF_LOCK);
}

static __always_inline __u64 path_key(struct net *net, struct prefix *prefix)
{
	__u64 key = *(__u64 *)prefix->address ^ (__u64)prefix->family << 56;

	return (key ^ net->net_cookie * 0x9e3779b97f4a7c15ULL) *
	       0xff51afd7ed558ccdULL;
}

static __always_inline void tell_connected(struct net *net)
{
	__u64 cookie = net->net_cookie;

	if (due(~cookie, 30 * SECOND))
		emit(struct connected, .netns_cookie = cookie);
}

static __always_inline void hint_receiver(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	struct net *net = sk->__sk_common.skc_net.net;
	bool is_fixed = !net->ipv4.sysctl_tcp_moderate_rcvbuf;
	__u32 limit = is_fixed ? net->ipv4.sysctl_tcp_rmem[1] :
				 net->ipv4.sysctl_tcp_rmem[2];
	struct prefix prefix = {};

	if ((__u32)sk->sk_rcvbuf < limit - limit / 50 ||
	    tp->bytes_received < MIN_BYTES || tp->rtt_min.s[0].v < LEAST_RTT_US ||
	    BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_RCVBUF_LOCK ||
	    !destination_prefix(sk, &prefix) ||
	    !due(~path_key(net, &prefix), HINT_EVERY))
		return;
	emit(struct rcvbuf_limited,
	     .netns_cookie = net->net_cookie,
	     .prefix = prefix,
	     .limit_bytes = limit,
	     .min_rtt_us = tp->rtt_min.s[0].v,
	     .is_fixed = is_fixed);
}

static __always_inline void hint(struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	struct net *net = sk->__sk_common.skc_net.net;
	__u32 limit = net->ipv4.sysctl_tcp_wmem[2];
	struct prefix prefix = {};
	__u64 key;

	if (!is_held_back(tp, limit) || !destination_prefix(sk, &prefix))
		return;
	key = path_key(net, &prefix);
	if (!due(key, HINT_EVERY))
		return;
	emit(struct sndbuf_limited,
	     .netns_cookie = net->net_cookie,
	     .prefix = prefix,
	     .limit_bytes = limit,
	     .min_rtt_us = tp->rtt_min.s[0].v);
}

/* Are transfers compared here? Those that begin with less than the kernel has by
 * itself are, and for a while those that then begin with enough.
 */
static __always_inline bool is_compared(struct net *net, __u32 rcvbuf, __u64 now)
{
	__u64 cookie = net->net_cookie, *last;

	if (rcvbuf < INITIAL_ENOUGH)
		return !bpf_map_update_elem(&small_ones, &cookie, &now, BPF_ANY);
	last = bpf_map_lookup_elem(&small_ones, &cookie);
	return last && now - *last < SMALL_LATELY;
}

static __always_inline void begin_transfer(struct bpf_sock_ops *ctx,
					   struct tcp_sock *tp)
{
	struct sock *sk = (struct sock *)tp;
	struct net *net = sk->__sk_common.skc_net.net;
	struct birth birth = {};
	__u64 cookie;

	birth.at_ns = bpf_ktime_get_ns();
	birth.initial_bytes = sk->sk_rcvbuf;
	if (!net->ipv4.sysctl_tcp_moderate_rcvbuf ||
	    BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_RCVBUF_LOCK ||
	    !is_compared(net, birth.initial_bytes, birth.at_ns))
		return;
	cookie = bpf_get_socket_cookie(ctx);
	bpf_map_update_elem(&births, &cookie, &birth, BPF_ANY);
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
				       BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void end_transfer(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct birth *birth = bpf_map_lookup_elem(&births, &cookie);
	struct prefix prefix = {};
	struct birth began;
	struct tcp_sock *tp;
	struct net *net;

	if (!birth)
		return;
	began = *birth;
	bpf_map_delete_elem(&births, &cookie);
	tp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
	if (!tp || tp->bytes_received < TRANSFER_MIN ||
	    tp->bytes_received > TRANSFER_MAX ||
	    !destination_prefix((struct sock *)tp, &prefix))
		return;
	net = ((struct sock *)tp)->__sk_common.skc_net.net;
	/* Not by destination: what is compared has to come from all of them. */
	if (!due(net->net_cookie ^ 0x7472616e73666572ULL, TRANSFER_EVERY))
		return;
	emit(struct transferred,
	     .netns_cookie = net->net_cookie,
	     .prefix = prefix,
	     .initial_bytes = began.initial_bytes,
	     .bytes_received = tp->bytes_received,
	     .took_us = (bpf_ktime_get_ns() - began.at_ns) / 1000);
}

static __always_inline void call_back(struct bpf_sock_ops *ctx)
{
	struct tcp_sock *tp;

	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		if (ctx->srtt_us >> 3 < LEAST_RTT_US)
			return;
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags |
					       BPF_SOCK_OPS_RTT_CB_FLAG);
		tp = ctx->sk ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
		if (!tp)
			return;
		tell_connected(((struct sock *)tp)->__sk_common.skc_net.net);
		begin_transfer(ctx, tp);
		return;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[0] == TCP_ESTABLISHED)
			end_transfer(ctx);
		return;
	case BPF_SOCK_OPS_RTT_CB:
		/* The handshake was slow but the path is not: without this a
		 * sender on a LAN called back 68,000 times a second.
		 */
		if (ctx->srtt_us >> 3 < LEAST_RTT_US) {
			bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags &
						       ~BPF_SOCK_OPS_RTT_CB_FLAG);
			return;
		}
		if (!ctx->sk)
			return;
		tp = bpf_skc_to_tcp_sock(ctx->sk);
		if (tp)
			hint(tp);
		return;
	}
}

SEC("sockops")
int watch_senders(struct bpf_sock_ops *ctx)
{
	call_back(ctx);
	return pass_on(ctx);
}

/* Find senders that were there before us: opt them into the callback, or where
 * that is of no use (the kernel cannot before 6.12) look at their state now.
 */
SEC("iter/tcp")
int survey_senders(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tp;
	struct net *net;
	int flags;

	if (!common || common->skc_state != TCP_ESTABLISHED)
		return 0;
	tp = bpf_skc_to_tcp_sock(common);
	if (!tp || tp->srtt_us >> 3 < LEAST_RTT_US)
		return 0;
	flags = tp->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG;
	if (!no_cgroup2 && !bpf_setsockopt(tp, SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS,
					   &flags, sizeof(flags)))
		return 0;
	net = common->skc_net.net;
	if (due(net->net_cookie, 30 * SECOND))
		emit(struct cannot_opt_in, .netns_cookie = net->net_cookie);
	hint(tp);
	return 0;
}

/* The kernel is about to enlarge a receive buffer (since 6.16): a few times for a
 * connection, while it speeds up. One held at its window is seen no more.
 */
SEC("tp_btf/tcp_rcvbuf_grow")
int BPF_PROG(watch_receivers, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((struct sock_common *)sk);

	if (tp)
		hint_receiver(tp);
	return 0;
}

SEC("iter/tcp")
int survey_receivers(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct tcp_sock *tp;

	if (!common || common->skc_state != TCP_ESTABLISHED)
		return 0;
	tp = bpf_skc_to_tcp_sock(common);
	if (!tp || tp->rtt_min.s[0].v < LEAST_RTT_US)
		return 0;
	tell_connected(common->skc_net.net);
	hint_receiver(tp);
	return 0;
}
