#!/bin/sh
# Sets up or removes the daisy chain that daisy-chain.nft explains. Both can be repeated.
#
#   PEER4, PEER6         the peer's addresses on the LAN; either may be missing
#   SERVICE4, SERVICE6   service addresses, separated by commas
#   PORTS                TCP ports, separated by commas
#
# `nearcast bgp config --site fra --node fra1 --daisy-chain fra2` prints them.
set -eu

table=53
mark=0x53
here=$(dirname "$0")

fail() {
  echo "daisy-chain: $1" >&2
  exit 1
}

# The interface on whose network the peer is. A peer behind a router would get the segments back.
device_of() {
  route=$(ip -o route get "$1") || fail "there is no route to $1"
  # shellcheck disable=SC2086
  set -- $route
  [ "$2" != via ] || fail "$1 is not on a network of this machine"
  while [ $# -gt 1 ]; do
    [ "$1" != dev ] || { echo "$2"; return; }
    shift
  done
  fail "the route to the peer has no interface"
}

has_rule() { # family, preference
  [ -n "$(ip "-$1" rule show pref "$2")" ]
}

# Marked packets must be routed before the lookup of local addresses, so the rule for that lookup moves behind.
rules_up() { # family, peer, device
  ip "-$1" route replace default via "$2" dev "$3" table $table
  has_rule "$1" 100 || ip "-$1" rule add pref 100 lookup local
  has_rule "$1" 50 || ip "-$1" rule add pref 50 fwmark $mark lookup $table
  ! has_rule "$1" 0 || ip "-$1" rule del pref 0
}

rules_down() { # family
  has_rule "$1" 0 || ip "-$1" rule add pref 0 lookup local
  ! has_rule "$1" 50 || ip "-$1" rule del pref 50
  ! has_rule "$1" 100 || ip "-$1" rule del pref 100
  ip "-$1" route flush table $table 2>/dev/null || true
}

forwarding() { # family
  case $1 in
    4) echo /proc/sys/net/ipv4/ip_forward ;;
    6) echo /proc/sys/net/ipv6/conf/all/forwarding ;;
  esac
}

# A machine that did not forward packets before forwards only marked ones.
guard_family() { # family
  case $1 in 4) echo ip ;; 6) echo ip6 ;; esac
}

open_forwarding() { # family
  [ "$(cat "$(forwarding "$1")")" = 0 ] || return 0
  # A host that forwards ignores router advertisements and would lose its default route, unless accept_ra is 2.
  if [ "$1" = 6 ]; then
    for file in /proc/sys/net/ipv6/conf/*/accept_ra; do
      [ "$(cat "$file")" != 1 ] || echo 2 >"$file"
    done
  fi
  nft -f - <<EOF
table $(guard_family "$1") nearcast_guard
delete table $(guard_family "$1") nearcast_guard
table $(guard_family "$1") nearcast_guard {
  chain forward { type filter hook forward priority filter; meta mark != $mark drop; }
}
EOF
  echo 1 >"$(forwarding "$1")"
}

close_forwarding() { # family
  nft list table "$(guard_family "$1")" nearcast_guard >/dev/null 2>&1 || return 0
  echo 0 >"$(forwarding "$1")"
  nft delete table "$(guard_family "$1")" nearcast_guard
}

up() {
  : "${PEER4:=}" "${PEER6:=}" "${SERVICE4:=}" "${SERVICE6:=}" "${PORTS:=80, 443}"
  [ -n "$PEER4$PEER6" ] || fail "neither PEER4 nor PEER6 is set"
  elements="add element inet nearcast_daisy ports { $PORTS }"
  for family in 4 6; do
    eval "peer=\$PEER$family service=\$SERVICE$family"
    # shellcheck disable=SC2154
    if [ -z "$peer" ] || [ -z "$service" ]; then continue; fi
    device=$(device_of "$peer")
    elements="$elements
add element inet nearcast_daisy lan { \"$device\" }
add element inet nearcast_daisy service$family { $service }"
    open_forwarding "$family"
    rules_up "$family" "$peer" "$device"
  done
  # One transaction, so that the rules are never incomplete.
  { cat "$here/daisy-chain.nft" && echo "$elements"; } | nft -f -
}

down() {
  nft list table inet nearcast_daisy >/dev/null 2>&1 && nft delete table inet nearcast_daisy
  for family in 4 6; do
    rules_down "$family"
    close_forwarding "$family"
  done
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) fail "usage: daisy-chain.sh up|down" ;;
esac
