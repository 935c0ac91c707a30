# shellcheck shell=sh
# What backups do on the host: freeze, snapshot, remove, and the record of what fleet made.
#
#   /var/lib/fleet/installation   the id that everything this fleet makes carries (fleet:owner)
#   /var/lib/fleet/backups.log    the record, only ever appended to: EPOCH VERB SET PATH GUID [run=RUN] [REASON]
#                                 REASON is that of a removal, to the end of the line: createtxg=N and the rule;
#                                 of the VERB pinned, which holds for what has no ZFS property, GUID is the date or -
#   /var/lib/fleet/configs        the guests' configurations at the time of a set: VMID@SET.conf
#
# A group is one guest or dataset in one word: `VMID FREEZE DATASET...`; VMID is - for a dataset of its own. $fleet_by is the
# run that sends the step (guarded.py).

# Another place only in tests.
fleet_state=${FLEET_STATE:-/var/lib/fleet}
fleet_cgroups=${FLEET_CGROUPS:-/sys/fs/cgroup/lxc}
# The locks of transfers: one file for each snapshot that is sent or removed, by its guid; gone with the next boot.
fleet_sending=${FLEET_RUN:-/run/fleet}/sending
# How long Proxmox may take for a snapshot: on a file system inside that does not answer it would wait for ever.
fleet_slow=${FLEET_SLOW:-600}

# fleet_installation: the id, made where there is none
fleet_installation() {
    if [ ! -s "$fleet_state/installation" ]; then
        (umask 077 && mkdir -p "$fleet_state" && tr -d - </proc/sys/kernel/random/uuid >"$fleet_state/installation.$$" &&
            { ln "$fleet_state/installation.$$" "$fleet_state/installation" 2>/dev/null || [ -s "$fleet_state/installation" ] ||
                mv -f "$fleet_state/installation.$$" "$fleet_state/installation"; }) # empty: a power cut, just after it was made
        rm -f "$fleet_state/installation.$$"
    fi
    LC_ALL=C grep -Ex '[0-9a-f]{32}' "$fleet_state/installation" 2>/dev/null ||
        { echo "$fleet_state/installation cannot be made, or holds no id of 32 digits: what it would mark is not made" >&2; return 1; }
}

# fleet_record VERB SET PATH GUID [REASON]: one line more in the record; one that a full disk cut short is ended before
fleet_record() {
    fleet_reason=$(printf '%s' "$5" | tr -c '[:print:]' '?')
    (umask 077 && mkdir -p "$fleet_state" && { [ -z "$(tail -c 1 "$fleet_state/backups.log" 2>/dev/null)" ] || echo >>"$fleet_state/backups.log"; } &&
        printf '%s %s %s %s %s\n' "$(date +%s)" "$1" "$2" "$3" "$4${fleet_by:+ run=$fleet_by}${fleet_reason:+ $fleet_reason}" \
            >>"$fleet_state/backups.log")
}
fleet_unrecorded() { echo "$fleet_state/backups.log cannot be written: what would not be in that record is not made"; }

# fleet_recorded PATH [GUID]: the record says that fleet made this, and knows no other guid of it
fleet_recorded() {
    awk -v path="$1" -v guid="${2:--}" '
        $4 == path && ($2 == "making" || $2 == "made" || $2 == "adopted") { found = 1; if ($5 != "-") known = $5 }
        END { exit !(found && (guid == "-" || known == "" || known == guid)) }' "$fleet_state/backups.log" 2>/dev/null
}

# fleet_conf_file VMID: the file of a guest of this node
fleet_conf_file() {
    for fleet_kind in lxc qemu-server; do
        [ ! -e "/etc/pve/$fleet_kind/$1.conf" ] || { echo "/etc/pve/$fleet_kind/$1.conf"; return; }
    done
    return 1
}

# fleet_lock VMID: the lock that Proxmox holds on a guest; fails where there is none
fleet_lock() { fleet_file=$(fleet_conf_file "$1") && awk '/^\[/ { exit } /^lock:/ { print $2; found = 1 } END { exit !found }' "$fleet_file"; }

# ── freezing ──────────────────────────────────────────────────────────────────────────────────────

# fleet_milliseconds: since 1970
fleet_milliseconds() { echo $(($(date +%s%N) / 1000000)); }

fleet_is_frozen() { grep -qx 'frozen 1' "$fleet_cgroups/$1/cgroup.events" 2>/dev/null; }
fleet_write_freeze() { { echo "$2" >"$fleet_cgroups/$1/cgroup.freeze"; } 2>/dev/null; }

# fleet_freeze SECONDS VMID...: holds these containers still and sets $fleet_held to those that are. One that does not
# stop at once runs on, and it is said. After so many seconds all run again, whatever becomes of this script.
fleet_freeze() {
    fleet_held='' fleet_dog='' fleet_seconds=$1
    shift
    for fleet_guest; do
        if [ ! -e "$fleet_cgroups/$fleet_guest/cgroup.freeze" ]; then
            ! fleet_running "$fleet_guest" || echo "fleet: running $fleet_guest" # cgroup v1, as a PVE 8 may still have
        elif ! fleet_is_frozen "$fleet_guest"; then
            fleet_held="$fleet_held $fleet_guest"
        else # by somebody else, who will also let it go; or who was killed before
            echo "fleet: frozenbefore $fleet_guest"
        fi
    done
    [ -n "$fleet_held" ] || return 0
    # shellcheck disable=SC2016,SC2086 # the text is the watchdog's own; the ids are to be split
    setsid sh -c 'sleep "$1"; where=$2; shift 2
        for id; do echo 0 >"$where/$id/cgroup.freeze"; done' fleet-thaw "$fleet_seconds" "$fleet_cgroups" $fleet_held \
        </dev/null >/dev/null 2>&1 &
    fleet_dog=$!
    trap 'fleet_thaw' EXIT
    trap 'exit 1' HUP INT TERM
    fleet_since=$(fleet_milliseconds)
    for fleet_guest in $fleet_held; do fleet_write_freeze "$fleet_guest" 1; done
    fleet_tries=40
    for fleet_guest in $fleet_held; do
        until fleet_is_frozen "$fleet_guest"; do
            fleet_tries=$((fleet_tries - 1))
            [ "$fleet_tries" -gt 0 ] || break
            sleep 0.01
        done
        fleet_is_frozen "$fleet_guest" && continue
        fleet_write_freeze "$fleet_guest" 0
        fleet_held=$(for fleet_other in $fleet_held; do [ "$fleet_other" = "$fleet_guest" ] || printf ' %s' "$fleet_other"; done)
        echo "fleet: running $fleet_guest"
    done
}

# fleet_thaw: lets those go that fleet_freeze holds, looks that they are, and says for how long they were held
fleet_thaw() {
    trap - EXIT HUP INT TERM
    [ -n "$fleet_dog" ] || return 0
    for fleet_guest in $fleet_held; do
        fleet_is_frozen "$fleet_guest" || echo "fleet: late $fleet_guest"
        fleet_write_freeze "$fleet_guest" 0
    done
    echo "fleet: frozen $(($(fleet_milliseconds) - fleet_since))"
    kill -- "-$fleet_dog" 2>/dev/null
    fleet_dog=''
    for fleet_guest in $fleet_held; do
        fleet_tries=100
        while fleet_is_frozen "$fleet_guest"; do
            fleet_tries=$((fleet_tries - 1))
            [ "$fleet_tries" -gt 0 ] || { echo "fleet: stuck $fleet_guest"; break; }
            fleet_write_freeze "$fleet_guest" 0
            sleep 0.05
        done
    done
}

# ── taking ────────────────────────────────────────────────────────────────────────────────────────

# fleet_has PATH...: all these ZFS snapshots exist
fleet_has() { zfs list -H -o name -t snapshot -- "$@" >/dev/null 2>&1; }

# fleet_take_zfs SET SECONDS GROUP...: one atomic snapshot a pool of all groups that lack it, their containers frozen for it.
# Where that fails, group by group, so that one does not stop the others; `fleet: failed VMID TEXT` for each that did.
fleet_take_zfs() {
    fleet_set=$1 fleet_limit=$2
    shift 2
    fleet_id=$(fleet_installation) || return
    fleet_sync "$@"
    fleet_failed=0
    fleet_error=$(mktemp) || return
    fleet_take_together "$@" 2>"$fleet_error" || {
        [ $# -eq 1 ] || echo "fleet: apart $(grep -m 1 . "$fleet_error")"
        for fleet_group; do
            [ $# -eq 1 ] || fleet_take_together "$fleet_group" 2>"$fleet_error" || {
                fleet_failed=1
                echo "fleet: failed $(fleet_who "$fleet_group") $(grep -m 1 . "$fleet_error")"
            }
        done
        [ $# -gt 1 ] || { fleet_failed=1; echo "fleet: failed $(fleet_who "$1") $(grep -m 1 . "$fleet_error")"; }
    }
    rm -f "$fleet_error"
    return "$fleet_failed"
}

# fleet_who GROUP: the VMID, or the dataset
fleet_who() { case $1 in '- '*) echo "${1##* }" ;; *) echo "${1%% *}" ;; esac; }

# fleet_datasets GROUP...: the datasets of these groups, one a line
fleet_datasets() { for fleet_each; do printf '%s\n' "$fleet_each" | tr ' ' '\n' | tail -n +3; done; }

# fleet_sync GROUP...: what is dirty in memory goes to the datasets now, and not while their guests are frozen
fleet_sync() {
    # shellcheck disable=SC2046 # names of datasets hold no blanks
    zfs list -Hp -o mounted,mountpoint -- $(fleet_datasets "$@") 2>/dev/null |
        awk -F'\t' '$1 == "yes" { print $2 }' | tr '\n' '\0' | xargs -0r timeout 30 sync -f -- 2>/dev/null
}

fleet_take_together() {
    fleet_guests='' fleet_code=0
    fleet_lacking=$(fleet_lacks "$@")
    [ -n "$fleet_lacking" ] || return 0
    for fleet_each; do
        fleet_vmid=${fleet_each%% *}
        [ "$fleet_vmid" != - ] || continue
        fleet_save_conf "$fleet_vmid"
        case $fleet_each in "$fleet_vmid freeze "*) fleet_guests="$fleet_guests $fleet_vmid" ;; esac
    done
    for fleet_each in $fleet_lacking; do
        fleet_record making "$fleet_set" "$fleet_each" - 2>/dev/null || { fleet_unrecorded >&2; return 1; }
    done
    sync -d "$fleet_state/backups.log" # what ZFS keeps through a power cut, the record has to keep, too
    # shellcheck disable=SC2086 # the ids are to be split
    fleet_freeze "$fleet_limit" $fleet_guests
    for fleet_pool in $(echo "$fleet_lacking" | sed 's|[/@].*||' | sort -u); do
        # shellcheck disable=SC2046 # so are the names
        timeout 300 zfs snapshot -o "fleet:owner=$fleet_id" -o "fleet:set=$fleet_set" -- \
            $(echo "$fleet_lacking" | awk -v pool="$fleet_pool" 'index($0, pool "/") == 1 || index($0, pool "@") == 1') ||
            fleet_code=1
    done
    fleet_thaw
    # shellcheck disable=SC2086
    zfs list -Hp -o name,guid -t snapshot -- $fleet_lacking 2>/dev/null | while read -r fleet_name fleet_guid; do
        fleet_record made "$fleet_set" "$fleet_name" "$fleet_guid"
    done
    return "$fleet_code"
}

# fleet_lacks GROUP...: the snapshots of the set that are not there
fleet_lacks() {
    fleet_wanted=$(fleet_datasets "$@" | sed "s/\$/@$fleet_set/")
    # shellcheck disable=SC2086 # the names are to be split
    { zfs list -H -o name -t snapshot -- $fleet_wanted 2>/dev/null; echo; echo "$fleet_wanted"; } |
        awk '$0 == "" { wanted = 1; next } !wanted { there[$0] = 1; next } !($0 in there)'
}

# fleet_save_conf VMID: the guest's configuration goes with the set
fleet_save_conf() {
    (umask 077 && mkdir -p "$fleet_state/configs" && cp "$(fleet_conf_file "$1")" "$fleet_state/configs/$1@$fleet_set.conf")
}

# fleet_take_pct SET JOBS GROUP...: `pct snapshot` or `qm snapshot` of each, so many side by side. FREEZE of the group is the
# tool; the datasets get the mark, too.
fleet_take_pct() {
    fleet_set=$1 fleet_jobs=$2 fleet_running=0
    shift 2
    fleet_id=$(fleet_installation) || return
    for fleet_group; do
        # shellcheck disable=SC2086 # a group is words
        fleet_take_pct_one $fleet_group &
        fleet_running=$((fleet_running + 1))
        [ "$fleet_running" -lt "$fleet_jobs" ] || { wait; fleet_running=0; }
    done
    wait
}

fleet_take_pct_one() {
    fleet_vmid=$1 fleet_tool=$2
    shift 2
    fleet_file=$(fleet_conf_file "$fleet_vmid") || { echo "fleet: failed $fleet_vmid it is no longer on this node"; return; }
    if ! fleet_has_section "$fleet_file" "$fleet_set"; then
        fleet_record making "$fleet_set" "$fleet_vmid@$fleet_set" - 2>/dev/null || { echo "fleet: failed $fleet_vmid $(fleet_unrecorded)"; return; }
        # A backup or a migration holds it for a while: worth waiting for.
        fleet_tries=60
        while fleet_lock "$fleet_vmid" >/dev/null && [ "$fleet_tries" -gt 0 ]; do fleet_tries=$((fleet_tries - 1)); sleep 1; done
        # Proxmox freezes the cgroup inside, lxc/ID/ns (lxc: cgfsng.c, path_con).
        fleet_was=$(fleet_is_frozen "$fleet_vmid/ns" && echo frozen)
        fleet_said=$(timeout -k 60 "$fleet_slow" "$fleet_tool" snapshot "$fleet_vmid" "$fleet_set" --description "fleet: owner=$fleet_id set=$fleet_set" 2>&1) || {
            fleet_code=$?
            case $fleet_code in
            124 | 137)
                fleet_said="$fleet_tool snapshot did not end within $fleet_slow seconds and was interrupted"
                # What Proxmox froze and cannot let go, as it waits for a file system, we let go.
                [ -n "$fleet_was" ] || ! fleet_is_frozen "$fleet_vmid/ns" || fleet_write_freeze "$fleet_vmid/ns" 0
                ;;
            esac
            # Nothing was made: whatever gets this name later is somebody else's.
            grep -qxF "[$fleet_set]" "$fleet_file" || fleet_record removed "$fleet_set" "$fleet_vmid@$fleet_set" -
            echo "fleet: failed $fleet_vmid $(printf '%s\n' "$fleet_said" | grep . | tail -n 1)"
            return
        }
    fi
    for fleet_name; do
        zfs set "fleet:owner=$fleet_id" "fleet:set=$fleet_set" "$fleet_name@$fleet_set" &&
            fleet_record made "$fleet_set" "$fleet_name@$fleet_set" "$(zfs get -Hp -o value guid "$fleet_name@$fleet_set")"
    done
    fleet_record made "$fleet_set" "$fleet_vmid@$fleet_set" -
}

# fleet_has_section FILE NAME: a guest's configuration holds this snapshot, and it is whole
fleet_has_section() {
    awk -v name="[$2]" '/^\[/ { here = ($1 == name); if (here) found = 1 } here && /^snapstate:/ { half = 1 }
        END { exit !found || half }' "$1"
}

# fleet_has_pct SET VMID...: all these guests have it
fleet_has_pct() {
    fleet_name=$1
    shift
    for fleet_vmid; do fleet_file=$(fleet_conf_file "$fleet_vmid") && fleet_has_section "$fleet_file" "$fleet_name" || return 1; done
}

# ── removing ──────────────────────────────────────────────────────────────────────────────────────

# What destroys: these two functions and nothing else (tests/host/test_destroy.py). They are a text, since on another host they
# run in the shell that ssh starts there (send.sh).
#
# fleet_one_snapshot PATH: this names exactly one snapshot that fleet may have made
# fleet_destroy PATH: destroys this one snapshot
# fleet_destroy_bookmark PATH: destroys this one bookmark, of a replica
# shellcheck disable=SC2016
fleet_destroying='
fleet_named() {
    case $1 in *[!A-Za-z0-9_.:/@#-]*) return 1 ;; esac
    printf "%s\n" "$1" | LC_ALL=C grep -Eqx "[A-Za-z][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.:-]+)*$2"
}
fleet_one_snapshot() { fleet_named "$1" "@fleet-[a-z0-9_-]{1,34}"; }
fleet_destroy() {
    fleet_one_snapshot "$1" || { echo "$1 is no name of a snapshot of this program" >&2; return 1; }
    zfs destroy "$1"
}
fleet_destroy_bookmark() {
    fleet_named "$1" "#fleet-[A-Za-z0-9_.-]+-[0-9]{8}t[0-9]{6}z" || { echo "$1 is no name of a bookmark of this program" >&2; return 1; }
    zfs destroy "$1"
}'
eval "$fleet_destroying"

# fleet_removable PATH GUID: it is still the one that was meant, it is ours, and nothing holds it; says why not
fleet_removable() {
    fleet_one_snapshot "$1" || { echo "is no name of a snapshot of fleet's"; return 1; }
    fleet_recorded "$1" "$2" || { echo "is not in the record of what fleet made"; return 1; }
    fleet_loose "$1" "$2" "$(cat "$fleet_state/installation")"
}

# fleet_loose PATH GUID OWNER: it is still the one that was meant, carries this mark (`any`: whatever mark), and nothing
# holds it; says why not
fleet_loose() {
    zfs get -Hp -o property,value,source guid,userrefs,clones,fleet:owner,fleet:pinned -- "$1" 2>&1 |
        awk -F'\t' -v guid="$2" -v owner="$3" -v today="$(date -u +%Y-%m-%d)" '
            { value[$1] = $2; source[$1] = $3; said = said $0 }
            function no(why) { print why; refused = 1; exit 1 }
            END {
                if (refused) exit 1
                if (!("guid" in value)) no("could not be read: " said)
                if (value["guid"] != guid) no("is another snapshot than the one that was planned")
                if (owner != "any" && (owner == "" || value["fleet:owner"] != owner || source["fleet:owner"] !~ /^(local|received)$/)) no("does not carry our mark")
                if (value["userrefs"] + 0) no("is held")
                if (value["clones"] != "-" && value["clones"] != "") no("has clones: " value["clones"])
                if (value["fleet:pinned"] != "-" && source["fleet:pinned"] ~ /^(local|received)$/ && value["fleet:pinned"] >= today) no("is pinned until " value["fleet:pinned"])
            }'
}

# fleet_unsent WHAT GUIDS COMMAND...: runs it while none of these snapshots is being sent, or begins to be. Proxmox would
# leave the guest locked half way through, and without a bookmark the replica would have nothing in common any more.
fleet_unsent() {
    fleet_about=$1 fleet_guids=$2
    shift 2
    [ -n "$fleet_guids" ] || { "$@"; return; }
    (umask 077 && mkdir -p "$fleet_sending")
    {
        flock -n 7 || { echo "fleet: kept $fleet_about it is being sent to a replica"; return 1; }
        case $fleet_guids in *' '*) fleet_guids=${fleet_guids#* } ;; *) fleet_guids='' ;; esac
        fleet_unsent "$fleet_about" "$fleet_guids" "$@"
    } 7>>"$fleet_sending/${fleet_guids%% *}"
}

# fleet_drop_zfs ENTRY...: removes ZFS snapshots, one a command; an entry is the word `VMID PATH GUID REASON`
fleet_drop_zfs() {
    fleet_bad=0 fleet_destroyed=''
    for fleet_entry; do
        # shellcheck disable=SC2086 # an entry is words
        fleet_drop_zfs_unsent $fleet_entry || fleet_bad=1
    done
    [ -n "$fleet_destroyed" ] || return "$fleet_bad"
    # With their datasets: a list in which those are missing says nothing of their snapshots.
    # shellcheck disable=SC2046,SC2086 # the names are to be split
    fleet_there=$(zfs list -H -o name -t filesystem,volume,snapshot -- $fleet_destroyed \
        $(printf '%s\n' $fleet_destroyed | sed 's/@.*//' | sort -u) 2>/dev/null)
    for fleet_entry; do
        # shellcheck disable=SC2086
        fleet_dropped_zfs $fleet_entry || fleet_bad=1
    done
    return "$fleet_bad"
}

fleet_drop_zfs_unsent() { fleet_unsent "$2" "$3" fleet_drop_zfs_one "$@"; }

fleet_drop_zfs_one() {
    fleet_path=$2 fleet_guid=$3
    if [ "$1" != - ] && fleet_why=$(fleet_lock "$1"); then
        echo "fleet: kept $fleet_path the guest is locked ($fleet_why)"
        return 1
    fi
    if ! fleet_why=$(fleet_removable "$fleet_path" "$fleet_guid"); then
        fleet_has "$fleet_path" || return 0
        echo "fleet: kept $fleet_path it $fleet_why"
        return 1
    fi
    shift 3
    fleet_record removing "${fleet_path#*@}" "$fleet_path" "$fleet_guid" "$*" || return
    fleet_said=$(fleet_destroy "$fleet_path" 2>&1) || echo "fleet: kept $fleet_path $(printf '%s\n' "$fleet_said" | grep -m 1 .)"
    fleet_destroyed="$fleet_destroyed $fleet_path"
}

# fleet_dropped_zfs VMID PATH GUID REASON: what became of one that was to be destroyed goes into the record
fleet_dropped_zfs() {
    case " $fleet_destroyed " in *" $2 "*) ;; *) return 0 ;; esac
    printf '%s\n' "$fleet_there" | grep -qxF -e "${2%@*}" || return 1
    if printf '%s\n' "$fleet_there" | grep -qxF -e "$2"; then
        fleet_record failed "${2#*@}" "$2" "$3"
        return 1
    fi
    fleet_record removed "${2#*@}" "$2" "$3"
    rm -f "$fleet_sending/$3"
    [ "$1" = - ] || rm -f "$fleet_state/configs/$1@${2#*@}.conf"
}

# fleet_drop_pct JOBS ENTRY...: removes snapshots of guests, so many guests side by side and the snapshots of one in turn; an
# entry is the word `VMID TOOL NAME PATH=GUID... -- REASON`
fleet_drop_pct() {
    fleet_jobs=$1 fleet_running=0
    shift
    for fleet_vmid in $(for fleet_entry; do echo "${fleet_entry%% *}"; done | sort -un); do
        fleet_drop_pct_of "$fleet_vmid" "$@" &
        fleet_running=$((fleet_running + 1))
        [ "$fleet_running" -lt "$fleet_jobs" ] || { wait; fleet_running=0; }
    done
    wait
    fleet_gone_pct "$@"
}

fleet_drop_pct_of() {
    fleet_of=$1
    shift
    for fleet_entry; do
        case $fleet_entry in "$fleet_of "*) ;; *) continue ;; esac
        fleet_name=${fleet_entry#* * }
        # shellcheck disable=SC2086 # an entry is words
        fleet_unsent "$fleet_of@${fleet_name%% *}" "$(fleet_guids_of $fleet_entry)" fleet_drop_pct_one $fleet_entry
    done
}

# fleet_guids_of VMID TOOL NAME PATH=GUID... -- REASON
fleet_guids_of() {
    shift 3
    for fleet_part; do
        [ "$fleet_part" != -- ] || break
        printf '%s\n' "${fleet_part##*=}"
    done | paste -sd ' ' -
}

fleet_drop_pct_one() {
    fleet_vmid=$1 fleet_tool=$2 fleet_name=$3 fleet_parts=''
    shift 3
    while [ $# -gt 0 ] && [ "$1" != -- ]; do fleet_parts="$fleet_parts $1"; shift; done
    [ $# -eq 0 ] || shift
    fleet_file=$(fleet_conf_file "$fleet_vmid") || { echo "fleet: kept $fleet_vmid@$fleet_name the guest is no longer on this node"; return 1; }
    printf '%s\n' "$fleet_name" | LC_ALL=C grep -Eqx 'fleet-[a-z0-9_-]{1,34}' || { echo "fleet: kept $fleet_vmid@$fleet_name it is no name of a snapshot of fleet's"; return 1; }
    grep -qxF "[$fleet_name]" "$fleet_file" || return 0
    if fleet_why=$(fleet_lock "$fleet_vmid"); then
        echo "fleet: kept $fleet_vmid@$fleet_name the guest is locked ($fleet_why)"
        return 1
    fi
    if ! fleet_recorded "$fleet_vmid@$fleet_name" || ! fleet_ours_section "$fleet_file" "$fleet_name"; then
        echo "fleet: kept $fleet_vmid@$fleet_name it does not carry our mark"
        return 1
    fi
    # One volume that cannot let go would leave the guest locked half way through (backup.md 3.5).
    for fleet_part in $fleet_parts; do
        fleet_why=$(fleet_loose "${fleet_part%=*}" "${fleet_part##*=}" any) || { echo "fleet: kept $fleet_vmid@$fleet_name ${fleet_part%=*} $fleet_why"; return 1; }
    done
    fleet_why=$(fleet_noted_pin "$fleet_vmid@$fleet_name")
    if [ -n "$fleet_why" ] && [ "$(printf '%s\n' "$fleet_why" "$(date -u +%Y-%m-%d)" | sort | tail -n 1)" = "$fleet_why" ]; then
        echo "fleet: kept $fleet_vmid@$fleet_name it is pinned until $fleet_why"
        return 1
    fi
    fleet_record removing "$fleet_name" "$fleet_vmid@$fleet_name" - "$*" || return
    fleet_said=$("$fleet_tool" delsnapshot "$fleet_vmid" "$fleet_name" 2>&1)
    # A guest that has left this node meanwhile took its snapshots along.
    [ -e "$fleet_file" ] || fleet_said="the guest is no longer on this node"
    if [ ! -e "$fleet_file" ] || grep -qxF "[$fleet_name]" "$fleet_file"; then
        fleet_record failed "$fleet_name" "$fleet_vmid@$fleet_name" -
        echo "fleet: kept $fleet_vmid@$fleet_name $(printf '%s\n' "$fleet_said" | grep . | tail -n 1)"
        return 1
    fi
    fleet_record removed "$fleet_name" "$fleet_vmid@$fleet_name" -
    for fleet_part in $fleet_parts; do rm -f "$fleet_sending/${fleet_part##*=}"; done
}

# fleet_ours_section FILE NAME: the description of this snapshot says that this fleet made it
fleet_ours_section() {
    awk -v name="[$2]" -v owner="owner=$(cat "$fleet_state/installation")" '
        /^\[/ { here = ($1 == name) } here && /^#/ && index($0, "fleet") && index($0, owner " ") { found = 1 }
        END { exit !found }' "$1"
}

# fleet_gone_zfs ENTRY... and fleet_gone_pct ENTRY...: none of these is there any more
fleet_gone_zfs() {
    # A pool that is away has none of its snapshots: that says nothing.
    for fleet_entry; do
        fleet_path=${fleet_entry#* } fleet_path=${fleet_path%% *}
        fleet_dataset "${fleet_path%@*}" && ! fleet_has "$fleet_path" || return 1
    done
}
fleet_gone_pct() {
    for fleet_entry; do
        # shellcheck disable=SC2086
        fleet_gone_pct_one $fleet_entry || return 1
    done
}
fleet_gone_pct_one() { fleet_file=$(fleet_conf_file "$1") && ! grep -qxF "[$3]" "$fleet_file"; }

# ── adopting ──────────────────────────────────────────────────────────────────────────────────────

# fleet_adopted PATH...: all these carry our mark and stand in the record
fleet_adopted() {
    fleet_id=$(cat "$fleet_state/installation" 2>/dev/null) || return
    for fleet_path; do
        [ "$(zfs get -H -o value,source fleet:owner -- "$fleet_path" | tr '\t' ' ')" = "$fleet_id local" ] &&
            fleet_recorded "$fleet_path" || return 1
    done
}
# fleet_adopt PATH...: makes them ours, as the operator says: those that a fleet has made whose record is lost
fleet_adopt() {
    fleet_id=$(fleet_installation) || return
    for fleet_path; do
        fleet_one_snapshot "$fleet_path" || { echo "fleet: kept $fleet_path is no name of a snapshot of fleet's"; return 1; }
        fleet_guid=$(zfs get -Hp -o value guid -- "$fleet_path") || return
        zfs set "fleet:owner=$fleet_id" "fleet:set=${fleet_path#*@}" "$fleet_path" &&
            fleet_record adopted "${fleet_path#*@}" "$fleet_path" "$fleet_guid" || return
    done
}

# ── pins ──────────────────────────────────────────────────────────────────────────────────────────

# A PATH is a ZFS snapshot, or VMID@NAME of one that is on other storages, whose pin stands in the record.

# fleet_noted_pin VMID@NAME: the date until which the record says that it is pinned, if it does
fleet_noted_pin() {
    awk -v path="$1" '$2 == "pinned" && $4 == path { date = $5 } END { if (date != "-") print date }' "$fleet_state/backups.log" 2>/dev/null
}

# fleet_pinned DATE PATH...: all these are pinned until then; `-`: none is pinned
fleet_pinned() {
    fleet_until=$1
    shift
    for fleet_path; do
        case $fleet_path in
        [0-9]*) fleet_said=$(fleet_noted_pin "$fleet_path") ;;
        *) fleet_said=$(zfs get -Hp -o value,source fleet:pinned -- "$fleet_path" | awk '$2 == "local" { print $1 }') ;;
        esac
        [ "$fleet_said" = "${fleet_until#-}" ] || return 1
    done
}
# fleet_pin DATE PATH...: pins these; `-`: unpins them
fleet_pin() {
    fleet_until=$1
    shift
    for fleet_path; do
        case $fleet_path-$fleet_until in
        [0-9]*) fleet_record pinned "${fleet_path#*@}" "$fleet_path" "$fleet_until" || return ;;
        *--) zfs inherit fleet:pinned "$fleet_path" || return ;;
        *) zfs set "fleet:pinned=$fleet_until" "$fleet_path" || return ;;
        esac
    done
}
