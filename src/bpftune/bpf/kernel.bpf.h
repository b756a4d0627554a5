/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel types and fields that BPF programs here read: all that we depend
 * on. Below the pragma, CO-RE finds fields by name in the running kernel, so a
 * struct there names only what is used, in any order and without the rest.
 * Above it stand the UAPI structs, whose layout is fixed and written in full.
 */
#pragma once

typedef signed char __s8;
typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* DESCRIBE(x); puts struct x into the object's BTF, so that user space can
 * decode it. A struct used only through local variables is not there.
 */
#define DESCRIBE(name) struct name *describe_##name

/* Numbers of the kernel's user interface: they never change. */
#define AF_UNSPEC 0
#define AF_INET 2
#define AF_INET6 10
#define SOL_SOCKET 1
#define SOL_TCP 6
#define SO_SNDBUF 7
#define SO_RCVBUF 8
#define SO_RCVLOWAT 18
#define TCP_CONGESTION 13
#define RTAX_INITCWND 11
#define RTAX_CC_ALGO 16
#define EAGAIN 11
#define ENOENT 2

enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { BPF_F_CURRENT_NETNS = -1 };
enum {
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_SK_STORAGE_GET_F_CREATE = 1 };

/* include/net/tcp_states.h; bpf.h repeats them as BPF_TCP_*. */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
	TCP_NEW_SYN_RECV = 12,
};

/* enum tcp_ca_state */
enum {
	TCP_CA_Open = 0,
	TCP_CA_Disorder = 1,
	TCP_CA_CWR = 2,
	TCP_CA_Recovery = 3,
	TCP_CA_Loss = 4,
};

/* sk_userlocks */
enum { SOCK_SNDBUF_LOCK = 1, SOCK_RCVBUF_LOCK = 2 };

/* The low bits of dst_entry._metrics */
#define DST_METRICS_READ_ONLY 1UL
#define DST_METRICS_FLAGS 3UL

/* struct bpf_sock_ops: op */
enum {
	BPF_SOCK_OPS_VOID = 0,
	BPF_SOCK_OPS_TIMEOUT_INIT = 1,
	BPF_SOCK_OPS_RWND_INIT = 2,
	BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
	BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4,
	BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5,
	BPF_SOCK_OPS_NEEDS_ECN = 6,
	BPF_SOCK_OPS_BASE_RTT = 7,
	BPF_SOCK_OPS_RTO_CB = 8,
	BPF_SOCK_OPS_RETRANS_CB = 9,
	BPF_SOCK_OPS_STATE_CB = 10,
	BPF_SOCK_OPS_TCP_LISTEN_CB = 11,
	BPF_SOCK_OPS_RTT_CB = 12,
	BPF_SOCK_OPS_PARSE_HDR_OPT_CB = 13,
	BPF_SOCK_OPS_HDR_OPT_LEN_CB = 14,
	BPF_SOCK_OPS_WRITE_HDR_OPT_CB = 15,
};

/* struct bpf_sock_ops: bpf_sock_ops_cb_flags. A set replaces them all: OR new
 * ones with the old, or another program on the socket loses its callbacks.
 */
enum {
	BPF_SOCK_OPS_RTO_CB_FLAG = 1,
	BPF_SOCK_OPS_RETRANS_CB_FLAG = 2,
	BPF_SOCK_OPS_STATE_CB_FLAG = 4,
	BPF_SOCK_OPS_RTT_CB_FLAG = 8,
	BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG = 16,
	BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG = 32,
	BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG = 64,
};

/* bpf_setsockopt(…, SOL_TCP, …): callback flags from an iterator, since 6.12 */
enum { TCP_BPF_SOCK_OPS_CB_FLAGS = 1008 };

/* bpf_setsockopt(…, SOL_TCP, …): the congestion window, in segments, as long as
 * nothing has been sent
 */
enum { TCP_BPF_IW = 1001 };

struct bpf_sock;

struct bpf_sock_ops {
	__u32 op;
	union {
		__u32 args[4];
		__u32 reply;
		__u32 replylong[4];
	};
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 is_fullsock;
	__u32 snd_cwnd;
	__u32 srtt_us;
	__u32 bpf_sock_ops_cb_flags;
	__u32 state;
	__u32 rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u32 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 segs_in;
	__u32 data_segs_in;
	__u32 segs_out;
	__u32 data_segs_out;
	__u32 lost_out;
	__u32 sacked_out;
	__u32 sk_txhash;
	__u64 bytes_received;
	__u64 bytes_acked;
	struct bpf_sock *sk;
};

struct bpf_sysctl {
	__u32 write;
	__u32 file_pos;
};

struct bpf_iter_meta;
struct bpf_map;
struct sock;
struct sock_common;
struct task_struct;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	__u32 uid;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct tcp_congestion_ops {
	char name[16];
};

struct netns_ipv4 {
	int sysctl_tcp_wmem[3];
	int sysctl_tcp_rmem[3];
	__u8 sysctl_tcp_moderate_rcvbuf;
	const struct tcp_congestion_ops *tcp_congestion_control;
};

struct ns_common {
	__u32 inum;
};

struct net {
	struct ns_common ns;
	struct netns_ipv4 ipv4;
	__u64 net_cookie;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	int pid;
	int tgid;
	char comm[16];
	struct nsproxy *nsproxy;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__u16 skc_family;
	volatile __u8 skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
};

struct net_device {
	int ifindex;
};

struct dst_entry {
	struct net_device *dev;
	unsigned long _metrics;	/* of a __u32 for each RTAX_, and two flags */
};

struct sock {
	struct sock_common __sk_common;
	struct dst_entry *sk_dst_cache;	/* the route out, as used last */
	int sk_rcvbuf;
	int sk_rcvlowat;
	int sk_sndbuf;
	int sk_wmem_queued;
	__u8 sk_userlocks : 4;	/* a whole byte in newer kernels */
};

struct inet_connection_sock {
	const struct tcp_congestion_ops *icsk_ca_ops;
	__u8 icsk_ca_state : 5;
	__u8 icsk_ca_setsockopt : 1;	/* chosen with TCP_CONGESTION, also by BPF */
	__u8 icsk_ca_dst_locked : 1;	/* the route's congctl, locked */
};

struct minmax_sample {
	__u32 t;
	__u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_options_received {
	__u16 rcv_wscale : 4;	/* what we shift the windows by that we announce */
};

struct tcp_sock {
	struct tcp_options_received rx_opt;
	struct {
		__u32 rtt_us;	/* eight times, and 0 before the first */
	} rcv_rtt_est;
	__u32 rcv_nxt;
	__u32 copied_seq;	/* up to here the application has read */
	__u32 rcv_wnd;
	__u32 rcv_ooopack;
	__u32 snd_cwnd_stamp;	/* jiffies, 32 bits */
	__u64 bytes_received;
	__u32 write_seq;
	__u32 snd_nxt;
	__u32 snd_wnd;
	__u32 snd_cwnd;
	__u32 mss_cache;
	__u32 packets_out;
	__u32 sacked_out;
	__u32 lost_out;
	__u32 retrans_out;
	__u32 total_retrans;
	__u32 data_segs_out;
	__u32 delivered_ce;	/* segments that came with a mark of congestion */
	__u8 ecn_flags;
	__u32 srtt_us;		/* eight times the smoothed round trip */
	__u64 bytes_acked;
	struct minmax rtt_min;
	__u8 bpf_sock_ops_cb_flags;
	__u8 chrono_type : 2;	/* a whole byte in newer kernels */
	__u32 chrono_start;	/* jiffies, 32 bits */
	__u32 chrono_stat[3];	/* jiffies: busy, rwnd-limited, sndbuf-limited */
};

#pragma clang attribute pop
