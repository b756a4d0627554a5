#!/bin/sh
# What a machine needs to be before tests run; see guest.py, which fills it in.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=dumb
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /lib/modules
mount --bind {modules} /lib/modules
modprobe -qa tun veth tcp_bbr
ip link set lo up
exec </dev/null >/dev/hvc0 2>&1
ulimit -n 65536
ulimit -l unlimited
cd {directory} || exit
read -r up _ </proc/uptime
echo "$(uname -r) $up" >/run/vm/up
{environment}
setsid {command}
echo $? >/run/vm/status
sync
echo 1 >/proc/sys/kernel/sysrq
echo o >/proc/sysrq-trigger
exec sleep infinity
