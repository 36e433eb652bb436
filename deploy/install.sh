#!/bin/sh
# Installs nearcast on Debian 12 or 13 (and most systems with systemd): Node, the package, users, directories, systemd
# units, kernel settings. It asks no questions. You can run it again: it changes only what differs, and never overwrites
# settings in /etc/nearcast.
#
# Origin and edge run as separate users, nearcast-origin and nearcast, so a fault in one can't reach files or processes
# of the other. An installation in which both run as nearcast is converted.
#
# A release is identified by its version and its files: different code with the same version becomes VERSION+SUM.
#
#   /opt/nearcast/node-26.10.0/        Node, from a tarball with the SHA-256 below
#   /opt/nearcast/node                 → the one in use
#   /opt/nearcast/releases/0.1.0/      the npm package with the dependencies of its npm-shrinkwrap.json; older releases
#                                      stay, for going back
#   /opt/nearcast/current              → the package of the release in use
#   /opt/nearcast/previous             → that of the release which was in use before it
#   /usr/local/bin/nearcast            the command
#   /etc/nearcast/                     edge.yaml, origin.yaml, addresses, edge.token: yours
#   /var/lib/nearcast{,-origin}/       data
#   /etc/systemd/system/nearcast-*     units; /etc/sysctl.d/90-nearcast.conf
set -eu
umask 022

node_version=26.10.0
# SHA-256 of node-linux-ARCH-VERSION.tgz and of npm-VERSION.tgz as the npm registry has them.
node_sha256_x64=69af90f5643f09d464e25e2b361b94ddcbeb6bdac2320b79f504733c388d5276
node_sha256_arm64=29bc0298f7b936a1a293c5a7663abcbc41c49a8962816f56f35e218d0b1d2161
npm_version=11.19.1
npm_sha256=9f58bff01604cb1b14008fef14dceb14d836a49225e45c6c2e37de3be3e707f0
registry=https://registry.npmjs.org

here=$(cd "$(dirname "$0")" && pwd)
root=
dry_run=false
roles=
action=install
package=
node_tarball=
node_sha256=
use_release=

usage() {
  cat <<EOF
Usage: install.sh [--origin] [--edge] [--command] [options]

  --origin               install the origin: unit and settings
  --edge                 install an edge: unit, service addresses, kernel settings, drop-in for BIRD
  --command              install only the command \`nearcast\`, for the machine of an operator
  --package FILE         release to install: a tarball of \`npm pack\` or deploy/release.sh
                         (default: nearcast-release.tgz next to this script, with node.tgz;
                         else the checkout or package that contains this script)
  --use VERSION          switch to an installed release; \`previous\`: the one that was in use before
  --node-tarball FILE    install Node from this file instead of the network
  --node-sha256 HEX      SHA-256 of that file, if it is not Node $node_version of the npm registry
  --root DIR             install below DIR, for example for an image; creates no user
  --remove               remove units, kernel settings and programs; settings and data stay
  --dry-run              print what would be done
  --help                 print this help

The script starts and restarts nothing. Its last lines print the commands for that.

For servers without internet access, build a release with deploy/release.sh on a machine with the same architecture.
EOF
}

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

changed=false

# Prints a command and runs it; with --dry-run, only prints it.
run() {
  changed=true
  echo "$*"
  $dry_run || "$@"
}

while [ $# -gt 0 ]; do
  case $1 in
    --origin) roles="$roles origin" ;;
    --edge) roles="$roles edge" ;;
    --command) roles="$roles command" ;;
    --remove) action=remove ;;
    --dry-run) dry_run=true ;;
    --help) usage; exit 0 ;;
    --package | --use | --node-tarball | --node-sha256 | --root)
      [ $# -ge 2 ] || fail "$1 needs a value; see --help"
      case $1 in
        --package) package=$2 ;;
        --use) action=use use_release=$2 ;;
        --node-tarball) node_tarball=$2 ;;
        --node-sha256) node_sha256=$2 ;;
        --root) root=${2%/} ;;
      esac
      shift ;;
    *) fail "unknown option $1; see --help" ;;
  esac
  shift
done

if [ -z "$package" ] && [ -e "$here/nearcast-release.tgz" ]; then
  package=$here/nearcast-release.tgz
  [ -n "$node_tarball" ] || node_tarball=$here/node.tgz
fi

opt=$root/opt/nearcast
etc=$root/etc/nearcast
units=$root/etc/systemd/system

# Copies a file unless the same file is there.
put() { # from, to, mode
  if cmp -s "$1" "$2"; then return; fi
  run install -D -m "$3" "$1" "$2"
}

put_new() { # from, to, mode
  if [ -e "$2" ] || [ -L "$2" ]; then return; fi
  run install -D -m "$3" "$1" "$2"
}

directory() { # path, mode
  if [ -d "$1" ]; then return; fi
  run install -d -m "$2" "$1"
}

link() { # to what, from where
  if [ "$(readlink "$2" 2>/dev/null)" = "$1" ]; then return; fi
  # A rename, so that the link always exists.
  run ln -sfn "$1" "$2.new"
  run mv -fT "$2.new" "$2"
}

must_be() { # file, SHA-256
  echo "$2  $1" | sha256sum --check --status || fail "the SHA-256 of $1 is not $2; the file was not used"
}

fetch() { # URL, file, SHA-256
  run curl --fail --silent --show-error --location --proto '=https' --retry 3 --max-time 600 --output "$2" "$1"
  $dry_run || must_be "$2" "$3"
}

work=
cleanup() {
  if [ -n "$work" ]; then rm -rf "$work"; fi
}
trap cleanup EXIT
work=$(mktemp -d)

architecture() {
  case $(uname -m) in
    x86_64) echo x64 ;;
    aarch64) echo arm64 ;;
    *) fail "no Node is known for $(uname -m): use --node-tarball and --node-sha256" ;;
  esac
}

# Unpacks a tarball with a single top-level directory of any name: first next to the target, then moves it into place.
unpack() { # tarball, folder
  run mkdir -p "$2.new"
  run tar -xzf "$1" -C "$2.new" --strip-components=1 --no-same-owner
  run mv -T "$2.new" "$2"
}

install_node() {
  arch=$(architecture)
  sha256=$node_sha256
  if [ -z "$sha256" ]; then
    case $arch in x64) sha256=$node_sha256_x64 ;; arm64) sha256=$node_sha256_arm64 ;; esac
  fi
  # A different Node has its hash in its name, so it gets its own directory.
  folder=node-$node_version
  [ -z "$node_sha256" ] || folder=node-$(printf %.12s "$node_sha256")
  if [ ! -x "$opt/$folder/bin/node" ]; then
    tarball=$node_tarball
    if [ -n "$tarball" ]; then
      must_be "$tarball" "$sha256"
    else
      tarball=$work/node.tgz
      fetch "$registry/node-linux-$arch/-/node-linux-$arch-$node_version.tgz" "$tarball" "$sha256"
    fi
    rm -rf "$opt/$folder.new"
    unpack "$tarball" "$opt/$folder"
  fi
  link "$folder" "$opt/node"
}

# Runs npm with our own Node, to fetch the dependencies of a package.
npm() {
  if [ ! -d "$work/npm" ]; then
    fetch "$registry/npm/-/npm-$npm_version.tgz" "$work/npm.tgz" "$npm_sha256"
    mkdir "$work/npm"
    $dry_run || tar -xzf "$work/npm.tgz" -C "$work/npm" --strip-components=1
  fi
  PATH="$opt/node/bin:$PATH" run "$opt/node/bin/node" "$work/npm/bin/npm-cli.js" "$@"
}

# The version in a package.json.
version_in() {
  sed -n 's/^ *"version": *"\([^"]*\)".*/\1/p' "$1" | head -n 1
}

# The release of a package directory, from the manifest next to its code, which was written when it was packed.
release_in() { # folder
  if [ -e "$1/dist/package.json" ]; then version_in "$1/dist/package.json"; else version_in "$1/package.json"; fi
}

# A hash of the names and contents of a package's files, without the file that names the release.
sum_of() { # folder
  (cd "$1" && find . -path ./node_modules -prune -o -type f ! -path ./dist/package.json -print0 |
    LC_ALL=C sort --zero-terminated | xargs -0 sha256sum) | sha256sum | cut -c 1-8
}

is_release() { # name
  [ -e "$opt/releases/$1/node_modules/nearcast/package.json" ]
}

is_same() { # package's folder, name of a release
  is_release "$2" && [ "$(sum_of "$1")" = "$(sum_of "$opt/releases/$2/node_modules/nearcast")" ]
}

# The release of the checkout that contains this script. With git, the name identifies the commit.
checkout_release() {
  name=
  if [ -x "$opt/node/bin/node" ]; then
    name=$("$opt/node/bin/node" --disable-warning=ExperimentalWarning --eval \
      'import(process.argv[1]).then(({ readRelease }) => console.log(readRelease()))' \
      "$(realpath "$here/../node/base/release.ts")")
  fi
  echo "${name:-$(version_in "$here/../package.json")}"
}

# Sets `from` to the directory of the package and `release` to its name. Unpacks tarballs into the temporary directory.
find_package() {
  if [ -z "$package" ] && [ -e "$here/build.ts" ]; then
    release=$(checkout_release)
    from=$opt/releases/$release/node_modules/nearcast
    case $release in *-g*) if is_release "$release"; then return; fi ;; esac
    # A checkout is packed first; `npm pack` needs no installed dependencies.
    npm pack --foreground-scripts --silent --pack-destination "$work" "$here/.."
    if $dry_run; then
      from=PACKAGE # which is not there
      return
    fi
    package=$(echo "$work"/nearcast-*.tgz)
  fi
  if [ -n "$package" ]; then
    unpack_package
  else
    from=$here/..
    [ -e "$from/package.json" ] || fail "this script is not in a package: use --package"
  fi
  release=$(release_in "$from")
  [ -n "$release" ] || fail "the package has no version"
}

unpack_package() {
  [ -r "$package" ] || fail "$package can't be read"
  from=$work/package
  case $(tar -tzf "$package") in
    *package/npm-shrinkwrap.json*)
      mkdir "$from"
      tar -xzf "$package" -C "$from" --strip-components=1 --no-same-owner
      ;;
    *node_modules/nearcast/package.json*)
      mkdir "$work/release"
      tar -xzf "$package" -C "$work/release" --no-same-owner
      from=$work/release/node_modules/nearcast
      ;;
    *) fail "$package is not a tarball of \`npm pack\` or deploy/release.sh" ;;
  esac
}

# Sets `release` to the name, and installs it into releases/ if it is not there.
install_release() {
  find_package
  if [ "$from" != PACKAGE ] && is_release "$release" && ! is_same "$from" "$release"; then
    other=$release
    release=$release+$(sum_of "$from")
    if ! is_release "$release"; then
      echo "nearcast $other is already installed with different code; this one is installed as $release"
    fi
  fi
  target=$opt/releases/$release
  if is_release "$release"; then return; fi
  [ ! -e "$target.new" ] || run rm -rf "$target.new"
  run mkdir -p "$target.new"
  if [ -e "$work/release" ]; then
    run cp -R "$work/release/." "$target.new"
  else
    # Not \`npm install TARBALL\`: npm uses the shrinkwrap only of packages from a registry.
    run cp "$from/package.json" "$target.new/package.json"
    run cp "$from/npm-shrinkwrap.json" "$target.new/package-lock.json"
    npm pkg delete devDependencies --prefix "$target.new"
    npm ci --prefix "$target.new" --omit=dev --no-audit --no-fund --loglevel=error
    run mkdir -p "$target.new/node_modules/nearcast"
    $dry_run || tar -cf "$work/files.tar" -C "$from" --exclude=./node_modules .
    run tar -xf "$work/files.tar" -C "$target.new/node_modules/nearcast" --no-same-owner
  fi
  manifest=$target.new/node_modules/nearcast/dist/package.json
  if [ -e "$manifest" ] && [ "$(version_in "$manifest")" != "$release" ]; then
    # So that \`nearcast --version\`, status and metrics show the difference, too.
    run sed -i "s/\"version\": \"[^\"]*\"/\"version\": \"$release\"/" "$manifest"
  fi
  run mv -T "$target.new" "$target"
}

write_command() {
  cat >"$work/nearcast" <<'EOF'
#!/bin/sh
# Written by nearcast's install.sh.
exec /opt/nearcast/node/bin/node /opt/nearcast/current/deploy/nearcast.mjs "$@"
EOF
  put "$work/nearcast" "$root/usr/local/bin/nearcast" 755
}

user_of() { # role
  case $1 in origin) echo nearcast-origin ;; edge) echo nearcast ;; esac
}

data_of() { # role
  case $1 in origin) echo /var/lib/nearcast-origin ;; edge) echo /var/lib/nearcast ;; esac
}

make_user() { # role
  user=$(user_of "$1")
  # The command alone needs no user.
  if [ -z "$user" ]; then return; fi
  # In an image, the image build creates the users.
  if [ -n "$root" ] || id "$user" >/dev/null 2>&1; then return; fi
  run useradd --system --user-group --home-dir "$(data_of "$1")" --no-create-home --shell /usr/sbin/nologin "$user"
}

is_running() { # role
  [ -d /run/systemd/system ] && systemctl is-active --quiet "nearcast-$1.service"
}

# Creates the data directory of the role. The role's user owns it and everything in it.
make_data() { # role
  data=$root$(data_of "$1")
  is_new=false
  [ -d "$data" ] || is_new=true
  directory "$data" 700
  if [ -n "$root" ]; then return; fi
  user=$(user_of "$1")
  owner=$(stat -c %U "$data" 2>/dev/null) || owner=nobody
  if [ "$owner" = "$user" ]; then return; fi
  if is_running "$1"; then
    # The running process still writes as the previous user. systemd changes the owner at the restart (StateDirectory=).
    echo "The $1 will run as user $user after: systemctl restart nearcast-$1"
    echo "The restart changes the owner of $data from $owner to $user"
  else
    $is_new || echo "The $1 runs as user $user, but $data belongs to $owner; changing the owner:"
    run chown -R "$user:$user" "$data"
  fi
}

# Units and settings come from the release in use, not from the release of this script.
install_role() { # role
  from=$opt/current/deploy
  [ -e "$from" ] || from=$here
  case $1 in
    origin)
      put_new "$from/config/origin.example.yaml" "$etc/origin.yaml" 644
      make_data origin
      put "$from/systemd/nearcast-origin.service" "$units/nearcast-origin.service" 644
      ;;
    edge)
      make_data edge
      put "$from/config/edge.example.yaml" "$etc/edge.example.yaml" 644
      for unit in nearcast-edge nearcast-addresses nearcast-daisy nearcast-lease-guard; do
        put "$from/systemd/$unit.service" "$units/$unit.service" 644
      done
      put "$from/systemd/bird.service.d/nearcast.conf" "$units/bird.service.d/nearcast.conf" 644
      put "$from/sysctl/90-nearcast.conf" "$root/etc/sysctl.d/90-nearcast.conf" 644
      ;;
  esac
}

next_steps() {
  echo
  echo "nearcast $release is installed. Runbook: /opt/nearcast/current/deploy/docs/runbook.md"
  [ "$roles" = " command" ] || echo "Next:"
  for role in $roles; do
    case $role in
      origin) echo "  check /etc/nearcast/origin.yaml, then: systemctl enable --now nearcast-origin" ;;
      edge)
        echo "  sysctl --system"
        echo "  nearcast join http://ORIGIN:7070 --site SITE --address ADDRESS --token-file edge.token \\"
        echo "    --data /var/lib/nearcast --no-start"
        echo "  ln -s /var/lib/nearcast/edge.yaml /etc/nearcast/edge.yaml"
        echo "  systemctl enable --now nearcast-edge"
        ;;
    esac
  done
  [ "$roles" = " command" ] || echo "A running service keeps the old release until you restart it."
}

reload_systemd() {
  if [ -n "$root" ] || ! $changed || [ ! -d /run/systemd/system ]; then return; fi
  run systemctl daemon-reload
}

do_install() {
  [ -n "$roles" ] || fail "specify what to install: --origin, --edge or --command"
  for role in $roles; do make_user "$role"; done
  directory "$etc" 755
  directory "$opt/releases" 755
  install_node
  install_release
  put_in_use "$release"
  write_command
  for role in $roles; do install_role "$role"; done
  reload_systemd
  if $changed; then next_steps; else echo "nearcast $release is already installed; nothing to do"; fi
}

# Switches to a release. The replaced one becomes `previous`.
put_in_use() { # name of a release
  next=releases/$1/node_modules/nearcast
  replaced=$(readlink "$opt/current" || true)
  if [ -n "$replaced" ] && [ "$replaced" != "$next" ]; then link "$replaced" "$opt/previous"; fi
  link "$next" "$opt/current"
}

do_use() {
  if [ "$use_release" = previous ]; then
    replaced=$(readlink "$opt/previous") || fail "there is no previous release"
    use_release=$(basename "${replaced%/node_modules/nearcast}")
  fi
  is_release "$use_release" ||
    fail "release $use_release is not installed; installed: $(cd "$opt/releases" 2>/dev/null && echo *)"
  put_in_use "$use_release"
  echo "Switched to nearcast $use_release. To start it: systemctl restart nearcast-edge (or nearcast-origin)"
}

do_remove() {
  for unit in nearcast-edge nearcast-origin nearcast-daisy nearcast-addresses nearcast-lease-guard; do
    [ -e "$units/$unit.service" ] || continue
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then run systemctl disable --now "$unit.service"; fi
    run rm -f "$units/$unit.service"
  done
  for path in "$units/bird.service.d/nearcast.conf" "$root/etc/sysctl.d/90-nearcast.conf" \
    "$root/usr/local/bin/nearcast" "$opt"; do
    [ ! -e "$path" ] || run rm -rf "$path"
  done
  reload_systemd
  echo "Kept: /etc/nearcast, /var/lib/nearcast, /var/lib/nearcast-origin, the users nearcast and nearcast-origin."
}

if [ -z "$root" ] && ! $dry_run && [ "$(id -u)" -ne 0 ]; then fail "needs root (or --root DIR, or --dry-run)"; fi

case $action in
  install) do_install ;;
  use) do_use ;;
  remove) do_remove ;;
esac
