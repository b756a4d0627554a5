// SPDX-License-Identifier: GPL-2.0
/* Notice that somebody writes one of our tunables, before the kernel sees it. */
#include "bpftune.bpf.h"

#define MSEC 1000000ULL
#define NAME_SIZE 64
#define MOST_TUNABLES 256

/* A process wrote new_value to a sysctl; it may still be refused. */
struct sysctl_written {
	__u64 netns_cookie;	/* the writer's, which need not be the file's */
	__u32 tgid;
	__u32 uid;
	char comm[16];
	char name[NAME_SIZE];	/* "net/ipv4/tcp_wmem" */
	char old_value[NAME_SIZE];
	char new_value[NAME_SIZE];
};

/* What is watched: a path under /proc/sys, padded with zeros, to a number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MOST_TUNABLES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, char[NAME_SIZE]);
	__type(value, __u32);
} tunables SEC(".maps");

const volatile __u32 own_tgid;	/* as the first pid namespace counts */
__u64 suppressed;		/* writes too soon after another of the same */

SEC("cgroup/sysctl")
int see_write(struct bpf_sysctl *ctx)
{
	struct sysctl_written *event;
	struct task_struct *task;
	char name[NAME_SIZE] = {};
	__u32 *number, tgid;
	__u64 cookie;

	/* Reads come by here as well: thousands in one sysctl -a. */
	if (!ctx->write)
		return 1;
	task = (void *)bpf_get_current_task();
	tgid = BPF_CORE_READ(task, tgid);
	if (tgid == own_tgid)
		return 1;
	if (bpf_sysctl_get_name(ctx, name, sizeof(name), 0) < 0)
		return 1;
	number = bpf_map_lookup_elem(&tunables, name);
	if (!number)
		return 1;

	cookie = BPF_CORE_READ(task, nsproxy, net_ns, net_cookie);
	if (!due(cookie << 16 | *number, 100 * MSEC)) {
		__sync_fetch_and_add(&suppressed, 1);
		return 1;
	}
	event = reserve(struct sysctl_written);
	if (!event)
		return 1;
	event->netns_cookie = cookie;
	event->tgid = tgid;
	event->uid = bpf_get_current_uid_gid();
	bpf_probe_read_kernel(event->comm, sizeof(event->comm), task->comm);
	__builtin_memcpy(event->name, name, sizeof(name));
	bpf_sysctl_get_current_value(ctx, event->old_value, NAME_SIZE);
	bpf_sysctl_get_new_value(ctx, event->new_value, NAME_SIZE);
	submit(event);
	return 1;	/* allow: the admin always may */
}
