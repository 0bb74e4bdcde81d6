#!/bin/sh
# Get a kernel for the virtual machine of the tests: fetch-kernel.sh FILE
#
# Those of its modules that a node of Kubernetes needs go to the folder `modules` beside it.
#
# The distribution's own package for virtual machines is downloaded and its kernel taken out of it. Nothing is
# installed: this machine's own boot is none of the tests' business.
set -eu

[ "$(uname -m)" = x86_64 ] || { echo "only on x86-64: the guest runs this machine's Python" >&2; exit 1; }
command -v apt-get >/dev/null || { echo "only with apt-get: the kernel comes from Debian or Ubuntu" >&2; exit 1; }

file=$(realpath -m "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt's own user downloads into it.
chmod 755 "$work"
cd "$work"

# The package of the newest kernel that a meta package names; Debian has the first one, Ubuntu the second.
newest() {
    for meta in linux-image-cloud-amd64 linux-image-virtual; do
        apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
    done | head -n 1
}
download() {
    package=$(newest)
    [ -n "$package" ] && apt-get -qq -o APT::Sandbox::User=root download "$package"
}

# Package lists may be older than the archive, or not there at all.
download 2>/dev/null || { apt-get -qq update && download; }
dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './boot/vmlinuz-*'
# Ubuntu has them in a package of their own, or built in.
dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards \
    './lib/modules/*/kernel/drivers/virtio/*' './lib/modules/*/kernel/drivers/net/veth.ko*' \
    './lib/modules/*/kernel/drivers/net/virtio_net.ko*' './lib/modules/*/kernel/drivers/net/net_failover.ko*' \
    './lib/modules/*/kernel/net/core/failover.ko*' './lib/modules/*/kernel/fs/overlayfs/*' 2>/dev/null ||
    echo "    not all modules are in the package of the kernel" >&2
modules=$(dirname "$file")/modules
rm -rf "$modules"
mkdir -p "$modules"
[ ! -d lib/modules ] || find lib/modules -name '*.ko*' -exec mv {} "$modules" \;
mv boot/vmlinuz-* "$file"
