#!/bin/sh
# Loads or removes the rule that lease-guard.nft explains. Both can be repeated.
set -eu

case ${1:-} in
  up) nft -f "$(dirname "$0")/lease-guard.nft" ;;
  down) ! nft list table inet nearcast_lease >/dev/null 2>&1 || nft delete table inet nearcast_lease ;;
  *)
    echo "usage: lease-guard.sh up|down" >&2
    exit 1
    ;;
esac
