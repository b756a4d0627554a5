/* SPDX-License-Identifier: GPL-2.0 */
/* How connections fared, added up by destination, decision and size. */
#pragma once

#include "maps.bpf.h"

/* --- names ------------------------------------------------------------------ */

static __always_inline bool same_name(const char *a, const char *b)
{
	const __u64 *left = (const __u64 *)a, *right = (const __u64 *)b;

	return left[0] == right[0] && left[1] == right[1];
}

static __always_inline bool is_named(const struct tcp_congestion_ops *ca,
				     const struct assignment *to, bool by_arm)
{
	return same_name(ca->name, by_arm ? to->arm : to->found);
}

static __always_inline bool is_changed(const struct assignment *to)
{
	return to->arm[0] && !same_name(to->arm, to->found);
}

/* --- sums ------------------------------------------------------------------- */

static const struct flow_sums no_sums;

/* The entry, made if need be: then *is_new is set. Or NULL. */
static __always_inline struct flow_sums *entry(void *map, const struct sums_key *key,
					       __u64 *created, bool *is_new)
{
	struct flow_sums *found = bpf_map_lookup_elem(map, key);

	if (found)
		return found;
	if (!bpf_map_update_elem(map, key, &no_sums, BPF_NOEXIST)) {
		__sync_fetch_and_add(created, 1);
		*is_new = true;
	}
	return bpf_map_lookup_elem(map, key);
}

/* When all is added: what is taken out before that would be lost. */
static __always_inline void tell_begun(const struct sums_key *key)
{
	if (due(key->netns_cookie ^ 0x626567756eULL, BEGUN_EVERY))
		emit(struct sums_begun, .netns_cookie = key->netns_cookie,
		     .prefix = key->prefix);
}

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

/* Not the one that the last segment came in by: the way back may be another. */
static __always_inline void note_device(struct flow_sums *to, struct tcp_sock *tp)
{
	const struct dst_entry *dst = ((struct sock *)tp)->sk_dst_cache;
	const struct net_device *device = dst ? dst->dev : NULL;

	if (device)
		to->device = device->ifindex;
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

/* Add what is new since the last time of a connection that is remembered. */
static __always_inline void add_news(struct flow_sums *to, struct tcp_sock *tp,
				     struct flow *flow, __u64 bytes)
{
	__u32 segments = tp->data_segs_out, retransmitted = tp->total_retrans;
	__u64 busy = floored(busy_us(tp), tp->srtt_us >> 3);
	__u32 ce = tp->delivered_ce;

	if (!flow->told) {
		__sync_fetch_and_add(&to->flows, 1);
		if (tp->ecn_flags & TCP_ECN_OK)
			__sync_fetch_and_add(&to->ecn_flows, 1);
		if (flow->round_trips < STARTED_UP) {
			flow->early_segments = segments;
			flow->early_retransmitted = retransmitted;
		}
		__sync_fetch_and_add(&to->early_segments, flow->early_segments);
		__sync_fetch_and_add(&to->early_retransmitted,
				     flow->early_retransmitted);
		flow->told_segments = flow->early_segments;
		flow->told_retransmitted = flow->early_retransmitted;
	}
	add_rtt(to, tp, bytes - flow->told_bytes);
	__sync_fetch_and_add(&to->busy_us, busy - flow->told_busy_us);
	__sync_fetch_and_add(&to->late_segments, segments - flow->told_segments);
	__sync_fetch_and_add(&to->late_retransmitted,
			     retransmitted - flow->told_retransmitted);
	__sync_fetch_and_add(&to->ce_marked, ce - flow->told_ce);
	flow->told = 1;
	flow->told_bytes = bytes;
	flow->told_busy_us = busy;
	flow->told_segments = segments;
	flow->told_retransmitted = retransmitted;
	flow->told_ce = ce;
}

static __always_inline void tell(struct tcp_sock *tp, struct flow *flow,
				 const struct path_key *path, __u64 now, bool ends)
{
	__u64 bytes = tp->bytes_acked, life = now - flow->born_ns;
	struct sums_key key = {};
	struct flow_sums *sum;
	bool is_new = false;

	if (bytes < flow->told_bytes)
		return;	/* disconnected, and all counters set back */
	if (!flow->told)
		flow->size_class = class_of(bytes);
	key.netns_cookie = path->netns_cookie;
	key.prefix = path->prefix;
	key.run = flow->run;
	key.size_class = flow->size_class;
	sum = entry(&sums, &key, &sums_created, &is_new);
	if (!sum)
		return;
	note_device(sum, tp);
	if (!flow->told && bytes < COUNTED_BYTES &&
	    life < (__u64)(tp->srtt_us >> 3) * 1000 * COUNTED_RTTS) {
		__sync_fetch_and_add(&sum->small_bytes, bytes);
	} else {
		add_news(sum, tp, flow, bytes);
		if (ends)
			add_end(sum, tp, life / 1000);
	}
	if (is_new)
		tell_begun(&key);
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
	bool is_new = false;
	struct flow_sums *sum = entry(&sums, key, &sums_created, &is_new);

	if (!sum)
		return;
	note_device(sum, tp);
	if (tp->bytes_acked < COUNTED_BYTES)
		__sync_fetch_and_add(&sum->small_bytes, tp->bytes_acked);
	else
		add_whole(tp, sum);
	if (is_new)
		tell_begun(key);
}

/* Short transfers make no entry, so that many peers who ask for little cannot push
 * out those worth knowing.
 */
static __always_inline void add_stranger(struct tcp_sock *tp, struct sums_key *key)
{
	__u64 bytes = tp->bytes_acked;
	struct flow_sums *sum;
	bool is_bulk, is_new = false;

	if (tp->rtt_min.s[0].v < least_rtt_us && !tp->delivered_ce)
		return;
	if (bytes < COUNTED_BYTES) {
		sum = bpf_map_lookup_elem(&strangers, key);
		if (sum)
			__sync_fetch_and_add(&sum->small_bytes, bytes);
		return;
	}
	sum = entry(&strangers, key, &strangers_created, &is_new);
	if (!sum)
		return;
	note_device(sum, tp);
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
