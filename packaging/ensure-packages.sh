#!/bin/sh
# Make sure that Debian packages are installed: ensure-packages.sh PACKAGE...
#
# As root with apt-get it installs what is missing. Otherwise it prints the one command that would,
# and exits 1, so that the caller can decide whether to go on without.
set -eu

missing=""
for package in "$@"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "==> installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update || echo "    the package lists could not all be refreshed; trying with what is there" >&2
    # shellcheck disable=SC2086 # a list of names, split on purpose
    apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $missing </dev/null >/dev/null
    exit 0
fi
echo "missing:$missing" >&2
echo "to install:  sudo apt-get install -y$missing" >&2
exit 1
