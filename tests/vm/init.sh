#!/bin/sh
# The first process: make the host's root, under a layer in memory, the root here.
export PATH=/bin
fail() {
	echo "init: $1" >/dev/ttyS0
	poweroff -f
}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do
	insmod "/modules/$module" || fail "module $module"
done
mkdir -p /lower /layer /root
mount -t virtiofs -o ro root /lower || fail "the host's root"
mount -t tmpfs -o size=75% layer /layer || fail "a layer in memory"
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work \
	root /root || fail "the layer over the root"
for directory in proc sys dev; do
	mount -o move "/$directory" "/root/$directory"
done
mount -t tmpfs -o mode=755 run /root/run
mkdir -p /root/run/vm
mount -t virtiofs out /root/run/vm || fail "the way out"
exec switch_root /root /bin/sh /run/vm/guest.sh
