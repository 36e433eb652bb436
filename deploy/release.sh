#!/bin/sh
# Builds a directory with everything that a server needs to install nearcast without a network:
#
#   install.sh             uses the other two files
#   nearcast-release.tgz   the package with its dependencies, for this processor architecture
#   node.tgz               Node, in the version that install.sh expects
#
# It needs npm and a network. It replaces existing files of these names.
set -eu
umask 022

folder=${1:?"usage: release.sh FOLDER"}
here=$(cd "$(dirname "$0")" && pwd)
case $(uname -m) in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) echo "release.sh: no Node is known for $(uname -m)" >&2; exit 1 ;;
esac
version=$(sed -n 's/^node_version=//p' "$here/install.sh")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$folder"
npm pack --silent --pack-destination "$work" "node-linux-$arch@$version" >"$work/log"
mv "$work/node-linux-$arch-$version.tgz" "$folder/node.tgz"
# Installs into a temporary root. The next steps that install.sh prints don't apply here, so show only a failure.
sh "$here/install.sh" --command --root "$work/root" --node-tarball "$folder/node.tgz" >"$work/log" || {
  cat "$work/log" >&2
  exit 1
}
tar -czf "$folder/nearcast-release.tgz" -C "$work"/root/opt/nearcast/releases/* .
cp "$here/install.sh" "$folder/install.sh"
echo "$folder is ready. Copy it to each server and run: sh $(basename "$folder")/install.sh --origin (or --edge)"
