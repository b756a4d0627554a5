// SPDX-License-Identifier: GPL-2.0
/* Sample TCP sockets: senders, or receivers.
 *
 * iter/tcp passes all established connections of the host, bucket by bucket:
 * some milliseconds. So it can leave a mark on those it shows, and later looks
 * go over the marks only.
 */
#include "prefix.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define MAX_SAMPLES 512
#define MAX_MARKS 4096

/* enum tcp_chrono: chrono_stat[] has no room for the first */
enum { CHRONO_UNSPEC, CHRONO_BUSY, CHRONO_RWND_LIMITED, CHRONO_SNDBUF_LIMITED };

/* Written by user space before each run. */
struct prefix target;		/* family 0: every destination */
bool receivers;			/* those that got data, else those that sent */
__u32 min_buffer_bytes;		/* the receive or the send buffer */
__u64 min_bytes;		/* got or acknowledged */
__u32 samples;			/* written in this run; start at 0 */
__u32 nudged;			/* in this run */
__u32 skipped;			/* matched, but there were enough */

const volatile bool has_marks = true;	/* this kernel can walk them */
bool mark_them;			/* sample_sockets leaves marks */
__u64 netns_cookie;		/* sample_marked shows this namespace */
__u64 oldest_ns;		/* sweep_marks removes what was left before */
__u32 marks_left;		/* after the last sweep, and since */
__u32 unmarked;			/* of samples, in this run */

/* Gone with its socket, or with the daemon. */
struct mark {
	__u64 left_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} marks SEC(".maps");

struct socket_sample {
	__u64 cookie;
	__u64 now_ns;
	__u64 now_jiffies;
	__u64 bytes_acked;
	__u32 busy_jiffies;
	__u32 rwnd_limited_jiffies;
	__u32 sndbuf_limited_jiffies;
	__u32 sndbuf_bytes;
	__u32 wmem_queued_bytes;
	__u32 notsent_bytes;
	__u32 snd_wnd_bytes;
	__u32 mss_bytes;
	__u32 in_flight_segments;
	__u32 cwnd_segments;
	__u32 srtt_us;
	__u32 min_rtt_us;
	__u32 segments_out;
	__u32 retransmitted_segments;
	__u32 ca_state;
	__u32 userlocks;
	__u64 bytes_received;
	__u32 unread_bytes;
	__u32 rcvbuf_bytes;
	__u32 rcv_wnd_bytes;
	__u32 rcv_wscale;
	__u32 rcv_rtt_us;
	__u32 rcvlowat_bytes;
	__u32 ooo_segments;
	__u32 cwnd_age_jiffies;
};
DESCRIBE(socket_sample);

struct chronos {
	__u32 running;
	__u32 start;
	__u32 stat[3];
};

static __always_inline void read_once(const struct tcp_sock *tp,
				      struct chronos *to)
{
	to->running = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	to->start = tp->chrono_start;
	to->stat[0] = tp->chrono_stat[0];
	to->stat[1] = tp->chrono_stat[1];
	to->stat[2] = tp->chrono_stat[2];
	barrier();
}

/* Only iter/tcp holds the socket's lock. Without it, tcp_chrono_set() may be
 * half done, and a span would count twice: read until nothing changes.
 */
static __always_inline void read_chronos(const struct tcp_sock *tp,
					 struct chronos *to)
{
	struct chronos again;

	read_once(tp, to);
#pragma unroll
	for (int i = 0; i < 3; i++) {
		read_once(tp, &again);
		if (to->running == again.running && to->start == again.start &&
		    to->stat[0] == again.stat[0] &&
		    to->stat[1] == again.stat[1] &&
		    to->stat[2] == again.stat[2])
			return;
		*to = again;
	}
}

/* As tcp_get_info_chrono_stats(): each array entry lacks the running span. */
static __always_inline __u32 chrono(const struct chronos *from, __u32 kind,
				    __u32 now)
{
	__u32 span = from->stat[kind - 1];

	if (from->running == kind)
		span += now - from->start;
	return span;
}

/* NULL if skc is no full TCP socket, as requests and time-wait sockets. */
static __always_inline struct tcp_sock *wanted(struct sock_common *skc)
{
	__u8 state = skc->skc_state;
	struct tcp_sock *tp;
	struct prefix to;
	struct sock *sk;

	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
		return NULL;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return NULL;
	sk = (struct sock *)tp;
	if (receivers ? tp->bytes_received < min_bytes ||
				(__u32)sk->sk_rcvbuf < min_buffer_bytes :
			tp->bytes_acked < min_bytes ||
				(__u32)sk->sk_sndbuf < min_buffer_bytes)
		return NULL;
	if (target.family &&
	    !(destination_prefix(sk, &to) && same_prefix(&to, &target)))
		return NULL;
	return tp;
}

/* Returns whether the sample of tp was written. */
static __always_inline bool write_sample(struct seq_file *seq,
					 struct tcp_sock *tp)
{
	struct inet_connection_sock *icsk = (struct inet_connection_sock *)tp;
	struct sock *sk = (struct sock *)tp;
	struct socket_sample sample = {};
	struct chronos chronos;
	__u32 now_jiffies;
	__s32 count;

	if (samples >= MAX_SAMPLES) {
		skipped++;
		return false;
	}
	sample.cookie = bpf_get_socket_cookie(sk);
	sample.now_ns = bpf_ktime_get_ns();
	sample.bytes_acked = tp->bytes_acked;

	read_chronos(tp, &chronos);
	sample.now_jiffies = bpf_jiffies64();
	now_jiffies = sample.now_jiffies;
	sample.rwnd_limited_jiffies =
		chrono(&chronos, CHRONO_RWND_LIMITED, now_jiffies);
	sample.sndbuf_limited_jiffies =
		chrono(&chronos, CHRONO_SNDBUF_LIMITED, now_jiffies);
	sample.busy_jiffies = chrono(&chronos, CHRONO_BUSY, now_jiffies) +
			      sample.rwnd_limited_jiffies +
			      sample.sndbuf_limited_jiffies;

	/* Without the lock, what is subtracted may be newer. */
	count = tp->write_seq - tp->snd_nxt;
	sample.notsent_bytes = count > 0 ? count : 0;
	count = tp->packets_out - (tp->sacked_out + tp->lost_out) +
		tp->retrans_out;
	sample.in_flight_segments = count > 0 ? count : 0;

	sample.sndbuf_bytes = sk->sk_sndbuf;
	sample.wmem_queued_bytes = sk->sk_wmem_queued;
	sample.snd_wnd_bytes = tp->snd_wnd;
	sample.mss_bytes = tp->mss_cache;
	sample.cwnd_segments = tp->snd_cwnd;
	sample.srtt_us = tp->srtt_us >> 3;
	sample.min_rtt_us = tp->rtt_min.s[0].v;
	sample.segments_out = tp->data_segs_out;
	sample.retransmitted_segments = tp->total_retrans;
	sample.ca_state = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);
	sample.userlocks = BPF_CORE_READ_BITFIELD(sk, sk_userlocks);

	sample.bytes_received = tp->bytes_received;
	count = tp->rcv_nxt - tp->copied_seq;
	sample.unread_bytes = count > 0 ? count : 0;
	sample.rcvbuf_bytes = sk->sk_rcvbuf;
	sample.rcv_wnd_bytes = tp->rcv_wnd;
	sample.rcv_wscale = BPF_CORE_READ_BITFIELD(tp, rx_opt.rcv_wscale);
	sample.rcv_rtt_us = tp->rcv_rtt_est.rtt_us >> 3;
	sample.rcvlowat_bytes = sk->sk_rcvlowat;
	sample.ooo_segments = tp->rcv_ooopack;
	sample.cwnd_age_jiffies = now_jiffies - tp->snd_cwnd_stamp;

	/* A full page of output is read, then this socket is shown again. */
	if (bpf_seq_write(seq, &sample, sizeof(sample)))
		return false;
	samples++;
	return true;
}

static __always_inline void leave_mark(struct tcp_sock *tp)
{
	struct mark *mark = bpf_sk_storage_get(&marks, tp, NULL, 0);

	if (!mark && marks_left < MAX_MARKS) {
		mark = bpf_sk_storage_get(&marks, tp, NULL,
					  BPF_SK_STORAGE_GET_F_CREATE);
		if (mark)
			marks_left++;
	}
	/* The socket's own memory (optmem_max) may be used up, too. */
	if (mark)
		mark->left_ns = bpf_ktime_get_ns();
	else
		unmarked++;
}

/* All of the reader's network namespace. */
SEC("iter/tcp")
int sample_sockets(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct seq_file *seq = ctx->meta->seq;
	struct tcp_sock *tp = skc ? wanted(skc) : NULL;

	if (tp && write_sample(seq, tp) && has_marks && mark_them)
		leave_mark(tp);
	return 0;
}

/* Those with a mark, of namespace netns_cookie; the reader's does not matter. */
SEC("iter/bpf_sk_storage_map")
int sample_marked(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct sock *sk = ctx->sk;
	struct tcp_sock *tp;

	if (!sk || sk->__sk_common.skc_net.net->net_cookie != netns_cookie)
		return 0;
	tp = wanted((struct sock_common *)sk);
	if (tp)
		write_sample(seq, tp);
	return 0;
}

/* A pass of its own: what shows nothing is never interrupted by a full page,
 * after which the kernel counts the sockets it has shown to find its place.
 */
SEC("iter/bpf_sk_storage_map")
int sweep_marks(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct mark *mark = ctx->value;
	struct sock *sk = ctx->sk;

	if (!sk || !mark)
		return 0;
	if (mark->left_ns < oldest_ns)
		bpf_sk_storage_delete(&marks, sk);
	else
		marks_left++;
	return 0;
}

/* A receiver held at its window copies just that much in each round trip, and
 * the kernel enlarges a buffer only when more was copied than ever before: so it
 * does not notice that tcp_rmem[2] was raised. SO_RCVLOWAT makes room for what it
 * asks for (tcp_set_rcvlowat()); the second call puts it back.
 */
SEC("iter/tcp")
int nudge_receivers(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct tcp_sock *tp = skc ? wanted(skc) : NULL;
	struct sock *sk = (struct sock *)tp;
	int most, one = 1;

	if (!tp || sk->sk_rcvlowat != 1 ||
	    BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_RCVBUF_LOCK)
		return 0;
	most = (__u32)sk->__sk_common.skc_net.net->ipv4.sysctl_tcp_rmem[2] >> 1;
	if (!bpf_setsockopt(tp, SOL_SOCKET, SO_RCVLOWAT, &most, sizeof(most)) &&
	    !bpf_setsockopt(tp, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one)))
		nudged++;
	return 0;
}
