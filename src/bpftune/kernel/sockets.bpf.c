// SPDX-License-Identifier: GPL-2.0
/* Sample the TCP senders of the reader's network namespace. */
#include "prefix.bpf.h"
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define MAX_SAMPLES 512

/* enum tcp_chrono: chrono_stat[] has no room for the first */
enum { CHRONO_UNSPEC, CHRONO_BUSY, CHRONO_RWND_LIMITED, CHRONO_SNDBUF_LIMITED };

/* Written by user space before each run. */
struct prefix target;		/* family 0: every destination */
__u32 min_sndbuf_bytes;
__u64 min_bytes_acked;
__u32 samples;			/* written in this run; start at 0 */
__u32 skipped;			/* matched, but there were enough */

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
};
DESCRIBE(socket_sample);

/* As tcp_get_info_chrono_stats(): each array entry lacks the running span. */
static __always_inline __u32 chrono(const struct tcp_sock *tp, __u32 running,
				    __u32 kind, __u32 now)
{
	__u32 span = tp->chrono_stat[kind - 1];

	if (running == kind)
		span += now - tp->chrono_start;
	return span;
}

static __always_inline bool is_wanted(const struct tcp_sock *tp)
{
	const struct sock *sk = (const struct sock *)tp;
	struct prefix to;

	if (tp->bytes_acked < min_bytes_acked ||
	    (__u32)sk->sk_sndbuf < min_sndbuf_bytes)
		return false;
	return !target.family ||
	       (destination_prefix(sk, &to) && same_prefix(&to, &target));
}

SEC("iter/tcp")
int sample_senders(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct seq_file *seq = ctx->meta->seq;
	struct inet_connection_sock *icsk;
	struct socket_sample sample = {};
	__u32 now_jiffies, running;
	struct tcp_sock *tp;
	__s32 notsent;
	struct sock *sk;
	__u8 state;

	if (!skc)
		return 0;
	state = skc->skc_state;
	if (state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
		return 0;
	/* NULL for requests and time-wait sockets, which are no full sockets */
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp || !is_wanted(tp))
		return 0;
	if (samples >= MAX_SAMPLES) {
		skipped++;
		return 0;
	}

	sk = (struct sock *)tp;
	icsk = (struct inet_connection_sock *)tp;
	sample.cookie = bpf_get_socket_cookie(sk);
	sample.now_ns = bpf_ktime_get_ns();
	sample.now_jiffies = bpf_jiffies64();
	sample.bytes_acked = tp->bytes_acked;

	now_jiffies = sample.now_jiffies;
	running = BPF_CORE_READ_BITFIELD(tp, chrono_type);
	sample.rwnd_limited_jiffies =
		chrono(tp, running, CHRONO_RWND_LIMITED, now_jiffies);
	sample.sndbuf_limited_jiffies =
		chrono(tp, running, CHRONO_SNDBUF_LIMITED, now_jiffies);
	sample.busy_jiffies = chrono(tp, running, CHRONO_BUSY, now_jiffies) +
			      sample.rwnd_limited_jiffies +
			      sample.sndbuf_limited_jiffies;

	notsent = tp->write_seq - tp->snd_nxt;
	sample.notsent_bytes = notsent > 0 ? notsent : 0;
	sample.sndbuf_bytes = sk->sk_sndbuf;
	sample.wmem_queued_bytes = sk->sk_wmem_queued;
	sample.snd_wnd_bytes = tp->snd_wnd;
	sample.mss_bytes = tp->mss_cache;
	sample.in_flight_segments = tp->packets_out -
				    (tp->sacked_out + tp->lost_out) +
				    tp->retrans_out;
	sample.cwnd_segments = tp->snd_cwnd;
	sample.srtt_us = tp->srtt_us >> 3;
	sample.min_rtt_us = tp->rtt_min.s[0].v;
	sample.segments_out = tp->data_segs_out;
	sample.retransmitted_segments = tp->total_retrans;
	sample.ca_state = BPF_CORE_READ_BITFIELD(icsk, icsk_ca_state);
	sample.userlocks = BPF_CORE_READ_BITFIELD(sk, sk_userlocks);

	/* A full page of output is read, then this socket is shown again. */
	if (!bpf_seq_write(seq, &sample, sizeof(sample)))
		samples++;
	return 0;
}
