#!/bin/sh
# Behaves like `systemctl set-property --runtime` and `systemctl daemon-reload` on a tree of ordinary files, or
# misbehaves as the file `mode` beside it says: ok, deny, hang, ignore, slow, round.
here=$(dirname "$0")
echo "$*" >> "$here/calls"
mode=$(cat "$here/mode")
case $mode in
deny) echo "Failed to set unit properties on x.service: Access denied" >&2; exit 1 ;;
hang) exec sleep 30 ;;
ignore) exit 0 ;;
esac
[ "$1" = daemon-reload ] && exit 0
while [ "$1" != -- ]; do shift; done
unit=$2 assignment=$3
dir=$(cat "$here/units/$unit") || { echo "Unit $unit not loaded." >&2; exit 1; }
mkdir -p "$here/control/$unit.d"
printf '# This is a drop-in unit file extension.\n[Service]\n%s\n' "$assignment" \
    > "$here/control/$unit.d/50-CPUQuota.conf"
percent=${assignment#CPUQuota=}
percent=${percent%\%}
[ "$mode" = round ] && percent=${percent%.*}
quota=$(echo "${percent:-0}" | awk '{ printf "%d", $1 * 1000 + 0.5 }')
# Like the kernel's, a file changes in one step: nobody ever reads it empty.
put() { echo "$2" > "$here/put.$$" && mv "$here/put.$$" "$dir/$1"; }
write() {
    if [ -e "$dir/cpu.max" ]; then
        if [ -n "$percent" ]; then put cpu.max "$quota 100000"; else put cpu.max "max 100000"; fi
    else
        put cpu.cfs_period_us 100000
        if [ -n "$percent" ]; then put cpu.cfs_quota_us "$quota"; else put cpu.cfs_quota_us -1; fi
    fi
}
if [ "$mode" = slow ]; then
    (sleep 0.1; write) > /dev/null 2>&1 &
else
    write
fi
exit 0
