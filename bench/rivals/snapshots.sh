#!/bin/sh
# What people write: over ssh, guest by guest, take a snapshot and delete the oldest of its kind. Where Proxmox
# refuses (a bind mount), volume by volume with zfs.   snapshots.sh PREFIX VMID... ; NODE: the words that log in
set -eu
prefix=$1
shift
name=$prefix$(date +%s)
there() {
    echo x >>"$COUNT"
    # shellcheck disable=SC2086  # words
    $NODE "$1" </dev/null
}
for vmid; do
    if there "pct snapshot $vmid $name" >/dev/null 2>&1; then
        oldest=$(there "grep -o '^.${prefix}[0-9]*' /etc/pve/lxc/$vmid.conf" | tr -d '[' | sort | head -n 1)
        if [ "$oldest" != "$name" ]; then there "pct delsnapshot $vmid $oldest" >/dev/null; fi
        continue
    fi
    for volume in $(there "zfs list -H -o name -t filesystem" | grep "/subvol-$vmid-"); do
        there "zfs snapshot $volume@$name"
        oldest=$(there "zfs list -H -o name -t snapshot -d 1 $volume" | grep -o "@$prefix.*" | sort | head -n 1)
        if [ "$oldest" != "@$name" ]; then there "zfs destroy $volume$oldest"; fi
    done
done
