#!/bin/sh
# Gives the process its own /etc, /opt, /usr/local and /var/lib, and runs the rest of the command line in it. What is
# written there is gone at the end: `unshare --mount sh own-system.sh DIR COMMAND…`, as root.
set -eu

layers=$1
shift
mount -t tmpfs tmpfs "$layers"
for folder in etc opt usr/local var/lib; do
  mkdir -p "$layers/$folder/changed" "$layers/$folder/work"
  mount -t overlay overlay "/$folder" \
    -o "lowerdir=/$folder,upperdir=$layers/$folder/changed,workdir=$layers/$folder/work"
done
exec "$@"
