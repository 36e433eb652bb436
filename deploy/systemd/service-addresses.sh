#!/bin/sh
# Puts the addresses of a file on lo, each line one with its length (192.0.2.53/32); `#` begins a comment.
# It can be run again whenever the file has changed. Addresses that are no longer in it are left alone.
set -eu

file=${1:?"usage: service-addresses.sh FILE"}
while read -r address _; do
  case $address in
    '' | '#'*) continue ;;
    # Deprecated (preferred_lft 0): answered, but never chosen for connections that this machine opens.
    *:*) ip -6 address replace "$address" dev lo nodad preferred_lft 0 ;;
    *) ip -4 address replace "$address" dev lo ;;
  esac
done <"$file"
