// SPDX-License-Identifier: GPL-2.0
/* What the daemon itself asks the kernel: which network namespaces are there,
 * and by which number the kernel knows us.
 */
#include "bpftune.bpf.h"

/* The ring buffer works, and the process that asked has this number. */
struct self_test {
	__u64 netns_cookie;
	__u32 tgid;
};

/* One process and its network namespace. */
struct netns_task {
	__u64 cookie;
	__u32 inum;
	__u32 tgid;
};

const volatile __u64 host_cookie;	/* its processes are left out; 0: none */
__u32 own_tgid;				/* as the first pid namespace counts */

SEC("syscall")
int who_am_i(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	own_tgid = bpf_get_current_pid_tgid() >> 32;
	emit(struct self_test,
	     .netns_cookie = BPF_CORE_READ(task, nsproxy, net_ns, net_cookie),
	     .tgid = own_tgid);
	return 0;
}

/* Threads may unshare, but a process of which only a thread is elsewhere is
 * rare, and the thread's path is not /proc/TGID/ns/net.
 */
SEC("iter/task")
int list_netns(struct bpf_iter__task *ctx)
{
	struct bpf_iter_meta *meta = ctx->meta;
	struct task_struct *task = ctx->task;
	struct netns_task found = {};
	struct net *net;

	if (!task || task->pid != task->tgid)
		return 0;
	/* NULL in a task that is exiting. */
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!net)
		return 0;
	found.cookie = BPF_CORE_READ(net, net_cookie);
	if (found.cookie == host_cookie)
		return 0;
	found.inum = BPF_CORE_READ(net, ns.inum);
	found.tgid = task->tgid;
	bpf_seq_write(meta->seq, &found, sizeof(found));
	return 0;
}
