// SPDX-License-Identifier: GPL-2.0
/* For the tests: puts the contexts of programs into BTF, to be compared. */
#include "bpftune.bpf.h"

DESCRIBE(bpf_sock_ops);
DESCRIBE(bpf_sysctl);
DESCRIBE(bpf_iter__tcp);
DESCRIBE(bpf_iter__task);
DESCRIBE(prefix);
