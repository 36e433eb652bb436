#!/bin/sh
# Puts the addresses of a file on lo. Each line has one address with its length (192.0.2.53/32); `#` begins a comment.
# Run it again when the file has changed. Addresses that are no longer in the file stay on lo.
set -eu

file=${1:?"usage: service-addresses.sh FILE"}
while read -r address _; do
  case $address in
    '' | '#'*) continue ;;
    # Deprecated (preferred_lft 0): the address answers, but is never the source of new connections from this machine.
    *:*) ip -6 address replace "$address" dev lo nodad preferred_lft 0 ;;
    *) ip -4 address replace "$address" dev lo ;;
  esac
done <"$file"
