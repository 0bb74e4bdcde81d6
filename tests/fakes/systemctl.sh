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
write() {
    if [ -e "$dir/cpu.max" ]; then
        [ -n "$percent" ] && echo "$quota 100000" > "$dir/cpu.max" || echo "max 100000" > "$dir/cpu.max"
    else
        echo 100000 > "$dir/cpu.cfs_period_us"
        [ -n "$percent" ] && echo "$quota" > "$dir/cpu.cfs_quota_us" || echo -1 > "$dir/cpu.cfs_quota_us"
    fi
}
if [ "$mode" = slow ]; then
    (sleep 0.1; write) > /dev/null 2>&1 &
else
    write
fi
exit 0
