#!/bin/sh
# Turns this process into a Debian machine of its own. machine.ts starts it inside new mount, PID and IPC namespaces.
#
#   the test's machine, read-only ─┐
#   a folder of the test ──────────┴─▶ overlay ─▶ the root of this machine ─▶ systemd, process 1
#
# The test lays the network cable between "namespaces" and "go", so that systemd finds it.
set -eu

folder=${1:?"usage: boot-machine.sh FOLDER NAME"}
name=${2:?"usage: boot-machine.sh FOLDER NAME"}
root=$folder/root

# Settings of the kernel as a whole are copies: they can be read and written here, and change nothing outside.
copy_settings() { # below /proc/sys, from
  mkdir "$folder/settings"
  # Some can only be written.
  cp -r "$2/." "$folder/settings" 2>/dev/null || true
  mount -t tmpfs tmpfs "$root/proc/sys/$1"
  cp -r "$folder/settings/." "$root/proc/sys/$1"
  rm -r "$folder/settings"
}

overlay() {
  mkdir -p "$folder/upper" "$folder/work" "$root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
}

if [ "${3:-}" != inside ]; then
  mount --make-rprivate /
  # Where the folder is on an overlay itself, as in a container, another can't write there: then in memory.
  overlay 2>/dev/null || { mount -t tmpfs tmpfs "$folder" && overlay; }
  mount -t proc proc "$root/proc"
  for at in run tmp; do mount -t tmpfs -o mode=755 tmpfs "$root/$at"; done
  chmod 1777 "$root/tmp"

  for at in kernel vm fs; do copy_settings "$at" "/proc/sys/$at"; done
  cp -r /proc/sys/net/core "$folder/net-core" 2>/dev/null || true

  # Devices that any program may expect, and none of the real hardware.
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for device in null zero full random urandom tty; do cp -a "/dev/$device" "$root/dev/$device"; done
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"

  # A control group of its own, which is the root of its systemd's.
  mkdir "$folder/cgroup"
  mount -t cgroup2 cgroup2 "$folder/cgroup"
  mkdir "$folder/cgroup/$(basename "$folder")"
  echo 0 >"$folder/cgroup/$(basename "$folder")/cgroup.procs"
  umount "$folder/cgroup"
  exec unshare --net --uts --cgroup sh "$0" "$folder" "$name" inside
fi

hostname "$name"
# What a network namespace shows of net.core is less than what a machine has.
copy_settings net/core "$folder/net-core"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
ip link set lo up

# A fresh installation: nothing of the test's own machine is started, and nothing of nearcast is there.
rm -rf "$root"/etc/systemd/system/*.wants "$root/etc/nearcast" "$root/opt/nearcast" "$root"/var/lib/nearcast*
rm -rf "$root"/etc/systemd/system/nearcast-* "$root/usr/local/bin/nearcast"
echo "$name" >"$root/etc/hostname"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
install -d -m 755 "$root/home/operator"
sed -i 's#:/root:#:/home/operator:#' "$root/etc/passwd"
mkdir "$root/etc/systemd/system/multi-user.target.wants"
ln -s /lib/systemd/system/ssh.service "$root/etc/systemd/system/multi-user.target.wants/ssh.service"

echo namespaces
read -r _
cd "$root"
mkdir -p outside
pivot_root . outside
umount --lazy /outside
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=multi-user.target </dev/null >/dev/null 2>&1
