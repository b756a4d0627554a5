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
mkdir -p /lower /layer /whole
mount -t virtiofs -o ro root /lower || fail "the host's root"
mount -t tmpfs -o size=75% layer /layer || fail "a layer in memory"
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work \
	root /whole || fail "the layer over the root"
for directory in proc sys dev; do
	mount -o move "/$directory" "/whole/$directory"
done
mount -t tmpfs -o mode=755 run /whole/run
mkdir -p /whole/run/vm
mount -t virtiofs out /whole/run/vm || fail "the way out"
exec switch_root /whole /bin/sh /run/vm/guest.sh
