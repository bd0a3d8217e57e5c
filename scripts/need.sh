#!/usr/bin/env bash
# Usage: scripts/need.sh PROGRAM...
#
# Makes Debian programs available to a test that needs them. Says nothing when they are there, installs the missing ones
# when it may, and otherwise fails with the command to run: a test is never skipped because a program is missing.
set -euo pipefail

# Some of these programs live where an ordinary user's PATH does not look.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

package_of() {
  case "$1" in
    mkfs.xfs | xfs_freeze | xfs_io) echo xfsprogs ;;
    mkfs.ext4 | debugfs | dumpe2fs | tune2fs) echo e2fsprogs ;;
    mkfs.btrfs | btrfs) echo btrfs-progs ;;
    losetup | mount | umount) echo mount ;;
    fallocate | setpriv | setsid | unshare | nsenter | prlimit | blockdev) echo util-linux ;;
    dmsetup) echo dmsetup ;;
    faketime) echo faketime ;;
    strace) echo strace ;;
    ltrace) echo ltrace ;;
    gdb) echo gdb ;;
    fusermount3) echo fuse3 ;;
    ip | tc | ss) echo iproute2 ;;
    iptables) echo iptables ;;
    socat) echo socat ;;
    openssl) echo openssl ;;
    ps | pgrep | free | vmstat) echo procps ;;
    redis-server | redis-cli) echo redis ;;
    psql) echo postgresql-client ;;
    *) return 1 ;;
  esac
}

if [ $# -eq 0 ]; then
  echo 'Name at least one program: scripts/need.sh PROGRAM...' >&2
  exit 2
fi

missing=()
packages=()
for program in "$@"; do
  command -v "$program" >/dev/null && continue
  missing+=("$program")
  if ! package=$(package_of "$program"); then
    echo "Cannot find \"$program\", and no package is known for it: add a line to package_of in scripts/need.sh" >&2
    exit 1
  fi
  packages+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

command_line="apt-get install -y --no-install-recommends ${packages[*]}"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Cannot find ${missing[*]}: install the Debian packages first, as root: $command_line" >&2
  exit 1
fi

# Two tests may need programs at once; apt refuses the second one unless it waits for the lock.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
install_packages() {
  apt install -y --no-install-recommends "${packages[@]}"
}

# The lists may be absent or old: they are refreshed once, and only when the installation needs it.
if ! install_packages && ! { apt update && install_packages; }; then
  cat "$log" >&2
  echo "Cannot install ${packages[*]}, needed for ${missing[*]}: see the output of apt-get above" >&2
  exit 1
fi

for program in "${missing[@]}"; do
  if ! command -v "$program" >/dev/null; then
    echo "Cannot find \"$program\" even after installing ${packages[*]}: correct package_of in scripts/need.sh" >&2
    exit 1
  fi
done
