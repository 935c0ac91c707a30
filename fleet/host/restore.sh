# shellcheck shell=sh disable=SC2154 # backup.sh, which comes first, sets fleet_state
# What restoring does on the host. Sent with the steps that call it.
#
#   /var/lib/fleet/restores.log   the record, only ever appended to: EPOCH VERB VMID WHAT FROM
#                                 making, made, removing, removed: a copy; rolling, rolled: a guest put back in its place
#   /var/lib/fleet/proven         a line for each drill: EPOCH SUBJECT ITEM ok|failed [WHAT]; WHAT is how far it was proven:
#                                 files (they can be read), boots (and they can), service (and that runs)
#
# A copy is a container whose description holds the line MARK (as the config file writes it) and whose number the record has.
# Nothing here destroys a dataset: a copy goes through `pct destroy`, which frees only what bears its number.

# fleet_log VERB VMID WHAT FROM: one line more in the record
fleet_log() {
    (umask 077 && mkdir -p "$fleet_state" && printf '%s %s %s %s %s\n' "$(date +%s)" "$1" "$2" "$3" "$4" >>"$fleet_state/restores.log")
}

# fleet_copy_state VMID: the last that the record says of a copy of this number: making, made, removing, removed or nothing
fleet_copy_state() { awk -v vmid="$1" '$3 == vmid && $2 ~ /^(making|made|removing|removed)$/ { last = $2 } END { print last }' "$fleet_state/restores.log" 2>/dev/null; }

# fleet_making VMID: the record says that fleet began to make a copy of this number, and has not removed it since
fleet_making() { case $(fleet_copy_state "$1") in making | made | removing) ;; *) return 1 ;; esac; }

# fleet_marked VMID MARK: the container's description holds this line
fleet_marked() { fleet_conf "$1" 2>/dev/null | grep -qxF -e "$2"; }

# fleet_open VMID MARK: no guest has this number, or it is the copy of this mark that fleet has not finished
fleet_open() { fleet_free "$1" || { fleet_marked "$1" "$2" && [ "$(fleet_copy_state "$1")" = making ]; }; }

# fleet_has_copy VMID MARK: the copy is there, whole
fleet_has_copy() { fleet_marked "$1" "$2" && fleet_unlocked "$1" && fleet_tagged "$1" fleet-restored && fleet_has_volumes "$1"; }

# fleet_volumes VMID: the lines of its own volumes
fleet_volumes() { fleet_conf "$1" | LC_ALL=C grep -E '^(rootfs|mp[0-9]+): *[^/ ]'; }

# fleet_has_volumes VMID: those of its volumes that are on ZFS exist
fleet_has_volumes() {
    fleet_volumes "$1" | sed 's/^[^:]*: *//; s/,.*//' | {
        while IFS=: read -r fleet_storage_id fleet_name; do
            fleet_pool=$(fleet_pool_of "$fleet_storage_id") || continue
            fleet_dataset "$fleet_pool/${fleet_name##*/}" || exit 1
        done
    }
}

# fleet_pool_of STORAGE: the pool or dataset of a zfspool storage; fails for another one
fleet_pool_of() {
    awk -v id="$1" '/^[^ \t:#]+:/ { here = ($1 == "zfspool:" && $2 == id); next } here && $1 == "pool" { print $2; found = 1 }
        END { exit !found }' /etc/pve/storage.cfg
}

# fleet_is_snapshot PATH GUID: this very snapshot is there
fleet_is_snapshot() { [ "$(zfs get -Hp -o value guid -- "$1" 2>/dev/null)" = "$2" ]; }

# fleet_with_config VMID COMMAND...: runs it under Proxmox's own lock of the container's configuration
fleet_with_config() {
    mkdir -p /run/lock/lxc
    (
        flock -w 10 9 || { echo "can't lock file '/run/lock/lxc/pve-config-$1.lock' - got timeout" >&2; exit 1; }
        shift
        "$@"
    ) 9>"/run/lock/lxc/pve-config-$1.lock"
}

# fleet_write_config VMID TEXT: under its final name only once it is whole
fleet_write_config() {
    fleet_file=$(readlink -f /etc/pve/lxc) && fleet_file=$fleet_file/$1.conf
    # Without quorum /etc/pve refuses to be written (pve-facts 0.12).
    { printf '%s\n' "$2" >"$fleet_file.tmp.$$"; } 2>/dev/null || { echo "/etc/pve cannot be written: has the cluster lost its quorum (pvecm status)?" >&2; return 1; }
    mv "$fleet_file.tmp.$$" "$fleet_file" || { rm -f "$fleet_file.tmp.$$"; return 1; }
}

# fleet_claim VMID MARK TEXT: the number is ours from here on; one that we claimed before stays as it is
fleet_claim() { fleet_with_config "$1" fleet_claim_now "$@"; }
fleet_claim_now() {
    if ! fleet_free "$1"; then
        fleet_marked "$1" "$2" && return
        echo "a guest has the number $1 meanwhile" >&2
        return 1
    fi
    fleet_write_config "$1" "$3
lock: create"
}

# fleet_dress VMID MARK TEXT: the configuration becomes this one with the volumes that it has; without Proxmox's lock
fleet_dress() { fleet_with_config "$1" fleet_dress_now "$@"; }
fleet_dress_now() {
    fleet_marked "$1" "$2" || { echo "$1 is no longer the copy that was made" >&2; return 1; }
    fleet_write_config "$1" "$3
$(fleet_volumes "$1")"
}

# ── copies of raw ZFS snapshots ───────────────────────────────────────────────────────────────────

# fleet_copy_zfs VMID MARK FROM HOW TEXT LINES ENTRY...: a container of clones (HOW clone) or full copies (full). TEXT is its
# configuration without volumes, LINES those of its volumes; an entry is the word `SNAPSHOT GUID DATASET REFQUOTA`.
fleet_copy_zfs() {
    fleet_vmid=$1 fleet_mark=$2 fleet_from=$3 fleet_how=$4 fleet_text=$5 fleet_lines=$6
    shift 6
    fleet_id=$(fleet_installation) || return
    fleet_open "$fleet_vmid" "$fleet_mark" || { echo "a guest has the number $fleet_vmid meanwhile" >&2; return 1; }
    fleet_log making "$fleet_vmid" - "$fleet_from" || return
    fleet_claim "$fleet_vmid" "$fleet_mark" "$fleet_text
$fleet_lines" || return
    for fleet_entry; do
        # shellcheck disable=SC2086 # an entry is words
        fleet_copy_volume "$fleet_how" $fleet_entry || return
    done
    fleet_dress "$fleet_vmid" "$fleet_mark" "$fleet_text" || return
    fleet_log made "$fleet_vmid" - "$fleet_from"
}

#: Properties that a clone does not take over from its origin, and that what is in it may rely on.
fleet_kept_properties=acltype,xattr,recordsize,compression,atime,relatime,logbias,sync,dnodesize

# fleet_copy_volume HOW SNAPSHOT GUID DATASET REFQUOTA
fleet_copy_volume() {
    if fleet_dataset "$4"; then
        fleet_is_copy "$4" || { echo "the dataset $4 exists and is not of this copy" >&2; return 1; }
        fleet_drop_received "$4" "$3"
        return
    fi
    fleet_is_snapshot "$2" "$3" || { echo "$2 is not the snapshot that was planned" >&2; return 1; }
    fleet_copy_how=$1 fleet_copy_path=$2 fleet_copy_guid=$3 fleet_copy_to=$4
    set -- -o "fleet:restored=$fleet_id" -o "refquota=$5"
    for fleet_word in $(zfs get -Hp -s local,received -o property,value "$fleet_kept_properties" -- "${fleet_copy_path%@*}" | tr '\t' '='); do
        set -- "$@" -o "$fleet_word"
    done
    if [ "$fleet_copy_how" = clone ]; then
        zfs clone "$@" "$fleet_copy_path" "$fleet_copy_to"
        return
    fi
    # Whosever snapshot it is, it arrives under a name of ours, and goes: the copy needs none of its own.
    zfs send "$fleet_copy_path" | zfs receive "$@" "$fleet_copy_to@fleet-copied" || return
    fleet_drop_received "$fleet_copy_to" "$fleet_copy_guid"
}

# fleet_drop_received DATASET GUID: the snapshot that a full copy was received as goes, if it is there
fleet_drop_received() {
    ! fleet_is_copy "$1" || ! fleet_is_snapshot "$1@fleet-copied" "$2" || fleet_destroy "$1@fleet-copied"
}

# fleet_is_copy DATASET: fleet made it as a copy
fleet_is_copy() { [ "$(zfs get -Hp -o value,source fleet:restored -- "$1" 2>/dev/null)" = "$(cat "$fleet_state/installation")	local" ]; }

# fleet_clone_dataset SNAPSHOT GUID DATASET MOUNTPOINT FROM: a dataset beside the original
fleet_clone_dataset() {
    fleet_id=$(fleet_installation) || return
    fleet_is_snapshot "$1" "$2" || { echo "$1 is not the snapshot that was planned" >&2; return 1; }
    fleet_no_dataset "$3" || fleet_is_copy "$3" || { echo "the dataset $3 exists and is not fleet's" >&2; return 1; }
    fleet_log making - "$3" "$5" || return
    fleet_dataset "$3" || zfs clone -o "fleet:restored=$fleet_id" -o readonly=off -o "mountpoint=$4" "$1" "$3" || return
    fleet_log made - "$3" "$5"
}
fleet_has_dataset_copy() { fleet_is_copy "$1" && fleet_zfs "$1" mounted yes; }

# ── copies that Proxmox makes ─────────────────────────────────────────────────────────────────────

# fleet_copy_pct VMID MARK FROM TEXT COMMAND...: runs `pct clone` or `pct restore`, which give the copy this mark, then
# makes its configuration TEXT with the volumes that Proxmox made
fleet_copy_pct() {
    fleet_vmid=$1 fleet_mark=$2 fleet_from=$3 fleet_text=$4
    shift 4
    fleet_open "$fleet_vmid" "$fleet_mark" || { echo "a guest has the number $fleet_vmid meanwhile" >&2; return 1; }
    if fleet_marked "$fleet_vmid" "$fleet_mark" && ! fleet_unlocked "$fleet_vmid"; then
        fleet_scrap "$fleet_vmid" "$fleet_mark" || return
    fi
    if ! fleet_marked "$fleet_vmid" "$fleet_mark"; then
        fleet_free "$fleet_vmid" || { echo "a guest has the number $fleet_vmid meanwhile" >&2; return 1; }
        fleet_log making "$fleet_vmid" - "$fleet_from" || return
        "$@"
        fleet_marked "$fleet_vmid" "$fleet_mark" && fleet_unlocked "$fleet_vmid" || return 1
    fi
    fleet_dress "$fleet_vmid" "$fleet_mark" "$fleet_text" || return
    fleet_log made "$fleet_vmid" - "$fleet_from"
}

# ── removing a copy ───────────────────────────────────────────────────────────────────────────────

# fleet_scrap VMID MARK [FIRST LAST]: destroys a copy that fleet made, and nothing else
fleet_scrap() {
    fleet_free "$1" && return
    if ! fleet_marked "$1" "$2" || ! fleet_making "$1"; then
        echo "$1 is not a copy that fleet made" >&2
        return 1
    fi
    case $2 in *"owner=$(cat "$fleet_state/installation") "*) ;; *) echo "$1 is a copy of another fleet's" >&2; return 1 ;; esac
    [ -z "$3" ] || { [ "$1" -ge "$3" ] && [ "$1" -le "$4" ]; } || { echo "$1 is not of the range $3-$4" >&2; return 1; }
    # One that is half made has the tags of the original; one that somebody goes on with has lost ours, or got fleet's.
    if [ "$(fleet_copy_state "$1")" != making ]; then
        if ! fleet_tagged "$1" fleet-restored || fleet_tagged "$1" fleet; then
            echo "the tags of $1 say that somebody keeps it" >&2
            return 1
        fi
    fi
    fleet_log removing "$1" - - || return
    ! fleet_running "$1" || pct stop "$1" || return
    ! fleet_is "$1" lock create || pct unlock "$1" || return
    # Stopping it may have taken a while.
    fleet_marked "$1" "$2" || { echo "$1 is no longer the copy that fleet made" >&2; return 1; }
    pct destroy "$1"
    fleet_free "$1" || return 1
    fleet_log removed "$1" - -
}

# ── drills ────────────────────────────────────────────────────────────────────────────────────────

# fleet_prove_log SUBJECT ITEM ok|failed SAID: SAID may hold the line `fleet: proved WHAT`
fleet_prove_log() {
    fleet_what=$(printf '%s\n' "$4" | sed -n 's/^fleet: proved //p')
    (umask 077 && mkdir -p "$fleet_state" &&
        printf '%s %s %s %s\n' "$(date +%s)" "$1" "$2" "$3${fleet_what:+ $fleet_what}" >>"$fleet_state/proven")
}

# fleet_proven SUBJECT ITEM EPOCH: it was restored since then
fleet_proven() {
    awk -v subject="$1" -v item="$2" -v since="$3" '$2 == subject && $3 == item && $4 == "ok" && $1 + 0 >= since + 0 { found = 1 }
        END { exit !found }' "$fleet_state/proven" 2>/dev/null
}

# What a guest says of its service: `ok`, what is wrong with it, or `unproven TEXT` where a drill cannot tell. Run inside, with
# KIND NAME DIRECTORY [copy]. In the copy a stack is brought up from the images that are there; in the original, whose stack is
# not to be touched, only its file is looked for.
# shellcheck disable=SC2016
fleet_service_inside='
case $1 in
compose)
    for directory in "$3" "/docker/$2" "/opt/$2"; do
        for name in compose.yaml compose.yml docker-compose.yaml docker-compose.yml ""; do
            [ -z "$directory" ] || [ -z "$name" ] || [ ! -f "$directory/$name" ] || break 2
        done
    done
    [ -n "$name" ] || { echo "no compose file in ${3:-/docker/$2 or /opt/$2}"; exit; }
    [ "$4" = copy ] || { echo ok; exit; }
    command -v docker >/dev/null || { echo "unproven Docker is not installed in it"; exit; }
    tries=30
    until docker info >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "unproven Docker does not run in it"; exit; }
        sleep 1
    done
    cd "$directory" || exit
    if ! said=$(docker compose up -d --no-build --pull never 2>&1 </dev/null); then
        said=$(printf "%s\n" "$said" | grep . | tail -n 1)
        # What drills leave out, addresses, networks and devices, is not held against the backup.
        if ! printf "%s\n" "$said" | grep -Eqi "no space left|undefined|no such image" &&
            printf "%s\n" "$said" | grep -Eqi "address|network|interface|/dev/|gathering device|no such device|device driver|resolve|unknown flag|not a docker command"; then
            echo "unproven the stack in $directory did not come up in the drill: $said"
        else
            echo "the stack in $directory does not come up: $said"
        fi
        exit
    fi
    sleep 10
    containers=$(docker compose ps -a -q 2>/dev/null)
    [ -n "$containers" ] || { echo "the stack in $directory has no container"; exit; }
    down=$(docker inspect -f "{{.Name}} {{.State.Status}} {{.State.ExitCode}}" $containers | while read -r name state code; do
        case $state-$code in running-* | exited-0) ;; *) printf " %s" "${name#/}" ;; esac
    done)
    if [ -z "$down" ]; then echo ok; else echo "unproven without a network these do not stay up:$down"; fi ;;
systemd) if systemctl is-active --quiet "$2"; then echo ok; else echo "the unit $2 is not active"; fi ;;
openrc) if rc-service "$2" status >/dev/null 2>&1; then echo ok; else echo "the service $2 is not started"; fi ;;
*) echo ok ;;
esac'

# Whether a guest has come up: `up`, `basic` where only services are missing, or `starting`. Run inside.
# shellcheck disable=SC2016
fleet_up_inside='
state=running
if [ -d /run/systemd/system ]; then state=$(systemctl is-system-running 2>/dev/null); fi
if [ -d /run/openrc ] && [ ! -e /run/openrc/softlevel ]; then state=starting; fi
case $state in
initializing) echo starting ;;
starting) if systemctl is-active --quiet basic.target 2>/dev/null; then echo basic; else echo starting; fi ;;
*) echo up ;;
esac'

# Whether what is there can be read: `ok NUMBER` of files that were, or what is wrong. Run inside, with PATH...
# shellcheck disable=SC2016
fleet_read_inside='
for path; do
    [ -d "$path" ] || { echo "there is no $path"; exit; }
    bad=$(find "$path" -xdev -type f 2>/dev/null | head -n 3000 | awk "NR % 20 == 1" | while IFS= read -r file; do
        head -c 1048576 "$file" >/dev/null 2>&1 || echo "$file"
    done | head -n 1)
    [ -z "$bad" ] || { echo "not readable: $bad"; exit; }
done
[ -e /etc/passwd ] || { echo "there is no /etc/passwd"; exit; }
echo ok'

fleet_inside() { fleet_inside_for 60 "$@"; }
fleet_inside_for() {
    fleet_seconds=$1 fleet_inside_vmid=$2
    shift 2
    timeout "$fleet_seconds" pct exec "$fleet_inside_vmid" -- /bin/sh -c "$@" 2>&1 </dev/null
}

# fleet_prove VMID MARK SUBJECT ITEM ORIGINAL SECONDS KIND NAME DIRECTORY PATH...: starts the copy, waits until it is up, looks,
# and writes down how it went. What the ORIGINAL (`-`: none) lacks, too, while it runs, is no fault of the copy's; where it
# does not run, nothing excuses the copy.
fleet_prove() {
    fleet_marked "$1" "$2" || { echo "$1 is no longer the copy that was made" >&2; return 1; }
    fleet_subject=$3 fleet_item=$4 fleet_how=ok
    fleet_fault=$(fleet_faults "$@") || fleet_how=failed
    fleet_prove_log "$fleet_subject" "$fleet_item" "$fleet_how" "$fleet_fault"
    printf '%s\n' "$fleet_fault"
    [ "$fleet_how" = ok ]
}
fleet_faults() {
    fleet_vmid=$1 fleet_original=$5 fleet_left=$6 fleet_kind=$7 fleet_service=$8 fleet_directory=$9
    shift 9
    fleet_running "$fleet_vmid" || pct start "$fleet_vmid" 2>&1
    fleet_running "$fleet_vmid" || { echo "fleet: fault it does not start"; return 1; }
    # What waits for a network that is not there makes systemd say `starting` for minutes: a third of the time is enough.
    fleet_patience=$((fleet_left * 2 / 3))
    until fleet_is_up; do
        fleet_left=$((fleet_left - 1))
        fleet_running "$fleet_vmid" || { echo "fleet: fault it stopped by itself"; return 1; }
        [ "$fleet_left" -gt 0 ] || { echo "fleet: fault it has not come up in time"; return 1; }
        sleep 1
    done
    fleet_said=$(fleet_inside "$fleet_vmid" "$fleet_read_inside" sh "$@")
    [ "$fleet_said" = ok ] || { echo "fleet: fault ${fleet_said:-reading its files took too long}"; return 1; }
    fleet_said=$(fleet_inside "$fleet_vmid" 'systemctl list-units --failed --plain --no-legend 2>/dev/null' sh | awk '{ print $1 }' | grep -E '\.[a-z]+$' | tr '\n' ' ')
    [ -z "$fleet_said" ] || echo "fleet: note failed units: $fleet_said"
    fleet_beside='' fleet_said=$(fleet_serves "$fleet_vmid" copy)
    case $fleet_said in
    ok | 'unproven '*) ;;
    *) [ "$fleet_original" = - ] || ! fleet_running "$fleet_original" || fleet_beside=$(fleet_serves "$fleet_original") ;;
    esac
    if [ -n "$fleet_beside" ] && [ "$fleet_said" = "$fleet_beside" ]; then
        echo "fleet: note the service was not proven: $fleet_said (nor in the original)"
        echo "fleet: proved boots"
        return 0
    fi
    # A service may take a while after the system is up; a stack was waited for, and a file that is not there will not come.
    [ "$fleet_kind" != compose ] || fleet_left=0
    while :; do
        case $fleet_said in
        ok) if [ "$fleet_kind" = - ]; then echo "fleet: proved boots"; else echo "fleet: proved service"; fi; return 0 ;;
        'unproven '*) echo "fleet: note the service was not proven: ${fleet_said#unproven }"; echo "fleet: proved boots"; return 0 ;;
        esac
        fleet_left=$((fleet_left - 1))
        [ "$fleet_left" -gt 0 ] || break
        sleep 1
        fleet_said=$(fleet_serves "$fleet_vmid" copy)
    done
    if [ "$fleet_kind" != compose ] && [ "$fleet_beside" = ok ]; then fleet_said="$fleet_said, which it is in the original"; fi
    echo "fleet: fault ${fleet_said:-its service took too long to answer}"
    return 1
}

# fleet_serves VMID [copy]: what the guest says of its service
fleet_serves() { fleet_inside_for 240 "$1" "$fleet_service_inside" sh "$fleet_kind" "$fleet_service" "$fleet_directory" "$2"; }
fleet_is_up() {
    case $(fleet_inside "$fleet_vmid" "$fleet_up_inside" sh) in
    up) ;;
    basic) [ "$fleet_left" -le "$fleet_patience" ] ;;
    *) return 1 ;;
    esac
}

# fleet_prove_dataset SNAPSHOT GUID SUBJECT: the snapshot of a dataset can be listed and its files be read
fleet_prove_dataset() {
    fleet_how=ok
    fleet_fault=$(fleet_dataset_faults "$1" "$2") || fleet_how=failed
    fleet_prove_log "$3" "${1#*@}" "$fleet_how" "$fleet_fault"
    printf '%s\n' "$fleet_fault"
    [ "$fleet_how" = ok ]
}
fleet_dataset_faults() {
    fleet_is_snapshot "$1" "$2" || { echo "fleet: fault it is not the snapshot that was planned"; return 1; }
    fleet_top=$(fleet_snapshot_top "$1") || { echo "fleet: fault $fleet_top"; return 1; }
    ls -A "$fleet_top/." >/dev/null 2>&1 || { echo "fleet: fault $fleet_top cannot be listed"; return 1; }
    fleet_said=$(find "$fleet_top/." -xdev -type f 2>/dev/null | head -n 5000 | awk 'NR % 25 == 1' | while IFS= read -r fleet_each; do
        head -c 1048576 "$fleet_each" >/dev/null 2>&1 || echo "$fleet_each"
    done | head -n 1)
    [ -z "$fleet_said" ] || { echo "fleet: fault not readable: $fleet_said"; return 1; }
    echo "fleet: proved files"
}

# fleet_snapshot_top SNAPSHOT: the folder that shows it; where there is none, why, and fails
fleet_snapshot_top() {
    fleet_place=$(zfs list -Hp -o mounted,mountpoint -- "${1%@*}" 2>/dev/null | awk -F '\t' '$1 == "yes" { print $2 }')
    [ -n "$fleet_place" ] || { echo "${1%@*} is not mounted"; return 1; }
    [ -d "$fleet_place/.zfs/snapshot/${1#*@}/." ] || { echo "$fleet_place/.zfs/snapshot/${1#*@} is not there"; return 1; }
    echo "$fleet_place/.zfs/snapshot/${1#*@}"
}

# ── back in its place ─────────────────────────────────────────────────────────────────────────────

# fleet_rollback VMID SAFETY ITEM STATE ENTRY...: the data of each volume becomes that of the snapshot; nothing is lost. An entry
# is the word `DATASET GUID ASIDE`. The volume is snapshotted as SAFETY and renamed to ASIDE, a clone of its snapshot takes its
# name, and the older snapshots (`zfs promote`). No zfs rollback, so nothing newer is ever destroyed. STATE is what the guest
# was before, running or stopped, and is again afterwards.
fleet_rollback() {
    fleet_vmid=$1 fleet_safety=$2 fleet_item=$3 fleet_was=$4
    shift 4
    fleet_id=$(fleet_installation) || return
    if fleet_running "$fleet_vmid" && ! fleet_is "$fleet_vmid" lock rollback; then
        pct shutdown "$fleet_vmid" --timeout 120 && fleet_await_ha "$fleet_vmid" fleet_stopped "$fleet_vmid"
        fleet_stopped "$fleet_vmid" || { echo "$fleet_vmid does not end within two minutes: stop it (pct stop $fleet_vmid) and run this again" >&2; return 1; }
    fi
    if ! fleet_rolled_back "$fleet_vmid" "$fleet_safety"; then
        fleet_log rolling "$fleet_vmid" "$fleet_safety" "$fleet_item,$fleet_was" || return
        fleet_set_lock "$fleet_vmid" || return
        for fleet_entry; do
            # shellcheck disable=SC2086 # an entry is words
            fleet_rollback_volume $fleet_entry || return
        done
        fleet_drop_lock "$fleet_vmid" || return
        fleet_log rolled "$fleet_vmid" "$fleet_safety" "$fleet_item,$fleet_was"
    fi
    [ "$fleet_was" = stopped ] || { pct start "$fleet_vmid" && fleet_await_ha "$fleet_vmid" fleet_running "$fleet_vmid"; }
}

fleet_rollback_volume() {
    fleet_volume=$1 fleet_guid=$2 fleet_aside=$3
    if fleet_no_dataset "$fleet_aside"; then
        fleet_is_snapshot "$fleet_volume@$fleet_item" "$fleet_guid" || { echo "$fleet_volume@$fleet_item is not the snapshot that was planned" >&2; return 1; }
        if ! fleet_has "$fleet_volume@$fleet_safety"; then
            fleet_newest "$fleet_volume@$fleet_item" || { echo "$fleet_volume has a newer snapshot meanwhile" >&2; return 1; }
            fleet_record making "$fleet_safety" "$fleet_aside@$fleet_safety" - || return
            zfs snapshot -o "fleet:owner=$fleet_id" -o "fleet:set=$fleet_safety" "$fleet_volume@$fleet_safety" || return
        fi
        zfs rename "$fleet_volume" "$fleet_aside" || return
    fi
    if fleet_no_dataset "$fleet_volume"; then
        set --
        # Names and values hold no blanks but in user properties, which are not the volume's own business.
        for fleet_word in $(zfs get -Hp -s local,received -o property,value all -- "$fleet_aside" |
            awk -F '\t' '$1 !~ /:|^(mountpoint|canmount|encryption|key.*|pbkdf2iters|version|utf8only|normalization|casesensitivity)$/ { print $1 "=" ($2 == "0" && $1 ~ /quota|reservation/ ? "none" : $2) }'); do
            set -- "$@" -o "$fleet_word"
        done
        zfs clone "$@" "$fleet_aside@$fleet_item" "$fleet_volume" || return
    fi
    if [ "$(zfs get -Hp -o value origin -- "$fleet_volume")" = "$fleet_aside@$fleet_item" ]; then
        zfs promote "$fleet_volume" || return
    fi
    zfs set canmount=noauto "fleet:restored=$fleet_id" "$fleet_aside" || return
    fleet_record made "$fleet_safety" "$fleet_aside@$fleet_safety" "$(zfs get -Hp -o value guid -- "$fleet_aside@$fleet_safety")"
}

# fleet_newest SNAPSHOT: its dataset has no newer one
fleet_newest() { [ "$(zfs list -H -d 1 -o name -t snapshot -s createtxg -- "${1%@*}" 2>/dev/null | tail -n 1)" = "$1" ]; }

# fleet_rolled VMID SAFETY STATE: it has been put back, and runs if it did
fleet_rolled() { fleet_rolled_back "$1" "$2" && { [ "$3" = stopped ] || fleet_running "$1"; }; }
fleet_rolled_back() {
    awk -v vmid="$1" -v safety="$2" '$2 == "rolled" && $3 == vmid && $4 == safety { found = 1 } END { exit !found }' \
        "$fleet_state/restores.log" 2>/dev/null
}

# fleet_set_lock VMID: as Proxmox's own rollback locks a guest, until all volumes are put back
fleet_set_lock() { fleet_with_config "$1" fleet_set_lock_now "$1"; }
fleet_set_lock_now() {
    fleet_is "$1" lock rollback && return
    fleet_unlocked "$1" || { echo "CT is locked" >&2; return 1; }
    # Proxmox starts a guest under this very lock of its configuration: from here on it cannot.
    fleet_stopped "$1" || { echo "$1 was started again meanwhile: nothing was changed" >&2; return 1; }
    fleet_write_config "$1" "$(awk '/^\[/ && !main++ { print "lock: rollback"; print "" } { if ($0 != "" || main) print } END { if (!main) print "lock: rollback" }' "/etc/pve/lxc/$1.conf")"
}
fleet_drop_lock() { fleet_with_config "$1" fleet_drop_lock_now "$1"; }
fleet_drop_lock_now() {
    fleet_is "$1" lock rollback || return 0
    fleet_write_config "$1" "$(awk '/^\[/ { main = 1 } main || !/^lock: rollback$/' "/etc/pve/lxc/$1.conf")"
}
# fleet_unlocked_or VMID LOCK: Proxmox holds no lock on it, or this one
fleet_unlocked_or() { fleet_unlocked "$1" || fleet_is "$1" lock "$2"; }

# ── files out of a backup ─────────────────────────────────────────────────────────────────────────

# fleet_get SNAPSHOT GUID PATH: a tar archive of the path in a snapshot, in lines of base64; in its place `fleet: fault TEXT`, or
# `fleet: missing` and a line `fleet: has NAME` for each other snapshot that has it
fleet_get() {
    fleet_is_snapshot "$1" "$2" || { echo "fleet: fault $1 is not there any more"; return 1; }
    fleet_top=$(fleet_snapshot_top "$1") || { echo "fleet: fault $fleet_top"; return 1; }
    fleet_stream "$fleet_top" "$3" && return
    for fleet_other in "${fleet_top%/*}"/*; do
        [ "$fleet_other" = "$fleet_top" ] || [ -z "$3" ] || ! fleet_there "$fleet_other" "$3" || echo "fleet: has ${fleet_other##*/}"
    done
    return 1
}

# fleet_get_archive VOLID PATH: the same out of an archive, unpacked into a folder of its own first
fleet_get_archive() {
    fleet_file=$(pvesm path "$1") || { echo "fleet: fault $1 is not there"; return 1; }
    case $fleet_file in
    /*.tar | /*.tar.*) ;;
    *) echo "fleet: fault $1 is no tar archive: restore it to a new VMID and take the file there"; return 1 ;;
    esac
    fleet_unpacked=$(mktemp -d /var/tmp/fleet-get.XXXXXX) || return
    trap 'rm -rf "$fleet_unpacked"' EXIT
    trap 'exit 1' HUP INT TERM PIPE
    tar -xf "$fleet_file" -C "$fleet_unpacked" --no-same-owner --exclude='./dev/*' -- "./$2" 2>/dev/null
    fleet_stream "$fleet_unpacked" "$2"
}

# fleet_there TOP PATH: it is there, and no link is on the way to it, which could lead out of TOP; says what is
fleet_there() {
    fleet_here=$1 fleet_rest=$2
    while :; do
        case $fleet_rest in */*) fleet_step=${fleet_rest%%/*} ;; *) break ;; esac
        fleet_here=$fleet_here/$fleet_step fleet_rest=${fleet_rest#*/}
        [ ! -L "$fleet_here" ] || { echo "fleet: link ${fleet_here#"$1"} -> $(readlink "$fleet_here")"; return 1; }
    done
    [ -e "$fleet_here/$fleet_rest" ] || [ -L "$fleet_here/$fleet_rest" ]
}

# fleet_stream TOP PATH
fleet_stream() {
    fleet_way=$(fleet_there "$1" "$2") || { echo "${fleet_way:-fleet: missing}"; return 1; }
    case $2 in
    '') fleet_parent=$1 fleet_name=. ;;
    */*) fleet_parent=$1/${2%/*} fleet_name=./${2##*/} ;;
    *) fleet_parent=$1 fleet_name=./$2 ;;
    esac
    echo "fleet: begin"
    { tar -cf - --numeric-owner --one-file-system --exclude=./.zfs -C "$fleet_parent/." -- "$fleet_name" || echo "fleet: broken" >&2; } | base64 -w 32768
    echo "fleet: end"
}
