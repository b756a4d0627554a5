// SPDX-License-Identifier: GPL-2.0
/* Send events, with numbers, whenever a task of a certain name reads
 * net.ipv4.tcp_stdurg. The name, READER, is in a header that each soak makes for
 * itself: there may be others on this machine.
 */
#include "bpftune.bpf.h"
#include "reader.bpf.h"

#define EVENTS_PER_READ 20
#define NAME_SIZE 32
#define COMM_SIZE 16

struct poke {
	__u64 netns_cookie;
	__u64 number;
};

__u64 sent;

SEC("cgroup/sysctl")
int poke_on_read(struct bpf_sysctl *ctx)
{
	static const char wanted[] = "net/ipv4/tcp_stdurg";
	static const char reader[] = READER;
	struct task_struct *task = (void *)bpf_get_current_task();
	char name[NAME_SIZE] = {}, comm[COMM_SIZE] = {};
	__u64 cookie;
	int i;

	if (ctx->write)
		return 1;
	bpf_get_current_comm(comm, sizeof(comm));
	for (i = 0; i < (int)sizeof(reader); i++)
		if (comm[i] != reader[i])
			return 1;
	if (bpf_sysctl_get_name(ctx, name, sizeof(name), 0) < 0)
		return 1;
	for (i = 0; i < (int)sizeof(wanted); i++)
		if (name[i] != wanted[i])
			return 1;
	cookie = BPF_CORE_READ(task, nsproxy, net_ns, net_cookie);
	for (i = 0; i < EVENTS_PER_READ; i++) {
		sent++;
		emit(struct poke, .netns_cookie = cookie, .number = sent);
	}
	return 1;
}
