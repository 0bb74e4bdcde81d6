#!/bin/sh
# Install the build on this host, or remove it again: install.sh [--remove]
#
# dist/mbcas/ goes to $PREFIX/lib/mbcas, with links in $PREFIX/bin; completion and the systemd unit go where bash, zsh,
# fish and systemd look for them. Nothing is started. PREFIX is /usr/local unless set, DESTDIR is put before all paths.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
lib=$root$prefix/lib/mbcas
bin=$root$prefix/bin
share=$root$prefix/share
unit=$root/etc/systemd/system/mbcasd.service

remove() {
    rm -rf "$lib"
    rm -f "$bin/mbcasd" "$bin/mbcasctl" "$bin/kubectl-mbcas" "$unit" \
        "$share/bash-completion/completions/mbcasctl" "$share/zsh/site-functions/_mbcasctl" \
        "$share/fish/vendor_completions.d/mbcasctl.fish"
}

if [ "${1:-}" = --remove ]; then
    remove
    echo "Removed. What it recorded is still in /var/lib/mbcas."
    exit 0
elif [ $# -gt 0 ]; then
    echo "usage: install.sh [--remove]" >&2
    exit 2
elif [ ! -x "$here/dist/mbcas/mbcasctl" ]; then
    echo "dist/mbcas/ is not there yet: run \`make build\` first" >&2
    exit 1
fi

remove
mkdir -p "$(dirname "$lib")" "$bin"
cp -R "$here/dist/mbcas" "$lib"
for program in mbcasd mbcasctl kubectl-mbcas; do
    ln -s "$prefix/lib/mbcas/$program" "$bin/$program"
done
install -D -m 644 "$here/completions/mbcasctl.bash" "$share/bash-completion/completions/mbcasctl"
install -D -m 644 "$here/completions/_mbcasctl" "$share/zsh/site-functions/_mbcasctl"
install -D -m 644 "$here/completions/mbcasctl.fish" "$share/fish/vendor_completions.d/mbcasctl.fish"
install -D -m 644 "$here/packaging/systemd/mbcasd.service" "$unit"
echo "Installed: $prefix/bin/mbcasd, mbcasctl and kubectl-mbcas. Next: systemctl daemon-reload && systemctl enable --now mbcasd"
