# shellcheck shell=sh disable=SC2016,SC2154 # texts for a shell on the replica; backup.sh, which comes first, sets fleet_state
# What sending snapshots to a replica does on the host. Sent with the steps that call it.
#
# HOST is `-` for a replica on this node, else what ssh takes; PARENT is the dataset of the replica, TARGET the one directly
# below it that holds the copies of one source, MARK what its fleet:replica must say. Nothing here forces anything: no
# receive -F, no rollback; what destroys is in backup.sh.

# fleet_at HOST COMMAND...: runs it on this node or on another one, with the input that it is given
fleet_at() {
    fleet_there=$1
    shift
    if [ "$fleet_there" = - ]; then "$@"; else fleet_ssh "$fleet_there" "$(fleet_line "$@")"; fi
}

# fleet_ask HOST COMMAND...: the same for a short question: another host is given two minutes to answer
fleet_ask() {
    fleet_there=$1
    shift
    if [ "$fleet_there" = - ]; then "$@" </dev/null; else fleet_ssh "$fleet_there" "$(fleet_line "$@")" timeout 120 </dev/null; fi
}

# fleet_ssh HOST LINE [PREFIX...]: with the key that the node has, never asking
fleet_ssh() {
    fleet_there=$1 fleet_text=$2
    shift 2
    "$@" ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -- "$fleet_there" "$fleet_text" 7>&-
}

# fleet_line COMMAND...: the words as one line for a shell that may not be root's
fleet_line() {
    printf 'PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C.UTF-8; export PATH LC_ALL; exec'
    for fleet_word; do printf " '%s'" "$(printf '%s' "$fleet_word" | sed "s/'/'\\\\''/g")"; done
}

# fleet_look HOST PARENT TARGET: `absent`, or `there<TAB>MARK<TAB>TOKEN` and a line `NAME<TAB>GUID` for each snapshot, oldest
# first. Fails where the replica does not answer: then nothing is known.
fleet_look() {
    fleet_ask "$1" sh -c '
        names=$(zfs list -H -o name -d 1 -t filesystem,volume -- "$1") || exit
        printf "%s\n" "$names" | grep -qxF -e "$2" || { echo absent; exit 0; }
        printf "there\t"
        zfs list -Hp -o fleet:replica,receive_resume_token -t filesystem,volume -- "$2" &&
            zfs list -Hp -d 1 -t snapshot -s createtxg -o name,guid -- "$2"' sh "$2" "$3"
}

# fleet_copied HOST PARENT TARGET GUID: the replica has the snapshot with this guid
fleet_copied() {
    fleet_seen=$(fleet_look "$1" "$2" "$3") || return
    printf '%s\n' "$fleet_seen" | awk -F '\t' -v guid="$4" '$2 == guid && $1 != "there" { found = 1 } END { exit !found }'
}

# fleet_copy_as HOST PARENT TARGET MARK NEWEST TOKEN: the target is as it was read: its newest snapshot has the guid NEWEST
# (`-`: it has none) and it is ours; or it is not there, and not meant to be. What an interrupted first transfer left
# carries no mark yet: its TOKEN says what it is.
fleet_copy_as() {
    fleet_seen=$(fleet_look "$1" "$2" "$3") || return
    printf '%s\n' "$fleet_seen" | awk -F '\t' -v mark="$4" -v newest="$5" -v token="$6" '
        NR == 1 { absent = ($1 == "absent"); ours = ($2 == mark); has = $3; next }
        { last = $2 }
        END {
            if (last == "") last = "-"
            if (absent) exit !(newest == "-" && token == "-")
            if (has != token || last != newest) exit 1
            exit !(ours || (token != "-" && newest == "-"))
        }'
}

# fleet_can PROGRAM: the node has it
fleet_can() { command -v "$1"; }

# fleet_send HOST PARENT TARGET MARK KIND RAW LIMIT SNAPSHOT GUID HOW [FROM]: brings one snapshot to the replica, unless it is
# there. KIND filesystem or volume, RAW raw or plain, LIMIT in KiB/s (0: none), HOW full, from (FROM is a snapshot or
# bookmark) or resume (FROM is the token).
fleet_send() {
    fleet_host=$1 fleet_parent=$2 fleet_target=$3 fleet_mark=$4 fleet_source=$8 fleet_guid=$9
    fleet_kind=$5 fleet_raw=$6 fleet_limit=$7
    shift 9
    # To the end of this script, so that a bookmark is there before anybody may remove it.
    (umask 077 && mkdir -p "$fleet_sending") || return
    exec 7>>"$fleet_sending/$fleet_guid" || return
    flock -w 600 7 || return
    fleet_zfs "$fleet_source" guid "$fleet_guid" || { echo "$fleet_source was removed just now"; return 1; }
    fleet_copied "$fleet_host" "$fleet_parent" "$fleet_target" "$fleet_guid" && return
    fleet_name=${fleet_source#*@}
    fleet_path=$fleet_target@$fleet_name
    [ "$fleet_host" = - ] || fleet_path=$fleet_host:$fleet_path
    fleet_record making "$fleet_name" "$fleet_path" "$fleet_guid" || return
    fleet_how=$1
    case $fleet_how in
        resume) set -- -t "$2" ;;
        from) set -- -i "$2" "$fleet_source" ;;
        full) set -- "$fleet_source" ;;
    esac
    if [ "$fleet_how" != resume ]; then
        # Encrypted data goes as it is: the replica needs no key. Other data keeps its compression on the way.
        if [ "$fleet_raw" = raw ]; then set -- -w "$@"; else set -- -c "$@"; fi
    fi
    fleet_codes=$(mktemp) || return
    {
        { zfs send -vP "$@"; echo "$?" >"$fleet_codes"; } 2>&1 >&3 3>&- | fleet_progress 3>&- >&2
    } 3>&1 | fleet_throttle "$fleet_limit" | fleet_receive "$fleet_host" "$fleet_kind" "$fleet_how" "$fleet_mark" "$fleet_target"
    fleet_received=$?
    fleet_sent=$(cat "$fleet_codes")
    rm -f "$fleet_codes"
    if ! fleet_copied "$fleet_host" "$fleet_parent" "$fleet_target" "$fleet_guid"; then
        fleet_record failed "$fleet_name" "$fleet_path" "$fleet_guid"
        echo "fleet: failed $fleet_target it did not arrive (zfs send: ${fleet_sent:-killed}, zfs receive: $fleet_received)"
        return 1
    fi
    fleet_claim_copy "$fleet_host" "$fleet_kind" "$fleet_mark" "$fleet_target" &&
        fleet_record made "$fleet_name" "$fleet_path" "$fleet_guid"
}

# fleet_receive HOST KIND HOW MARK TARGET <STREAM: a first one gets the mark, cannot be written to, and is not mounted
fleet_receive() {
    case $3-$2 in
        full-filesystem) fleet_at "$1" zfs receive -s -u -o readonly=on -o canmount=noauto -o "fleet:replica=$4" "$5" ;;
        full-volume) fleet_at "$1" zfs receive -s -u -o readonly=on -o "fleet:replica=$4" "$5" ;;
        *) fleet_at "$1" zfs receive -s -u "$5" ;;
    esac
}

# fleet_claim_copy HOST KIND MARK TARGET: a first one that was interrupted and went on may lack what it should have been given
fleet_claim_copy() {
    fleet_has=$(fleet_ask "$1" zfs get -Hp -o value fleet:replica,readonly "$4" | tr '\n' ' ') || return
    [ "$fleet_has" != "$3 on " ] || return 0
    [ "$2" = volume ] || fleet_ask "$1" zfs set canmount=noauto "$4" || return
    fleet_ask "$1" zfs set readonly=on "fleet:replica=$3" "$4"
}

# fleet_throttle LIMIT <STREAM >STREAM: with cstream, as Proxmox's own replication does (every node has it); 0: as it is
fleet_throttle() { if [ "$1" -gt 0 ]; then cstream -t "$(($1 * 1024))"; else cat; fi; }

# fleet_progress <REPORT: what `zfs send -vP` reports: `fleet: sent BYTES TOTAL` every second, all else as it is
fleet_progress() {
    fleet_tab=$(printf '\t')
    fleet_total=0
    while IFS=$fleet_tab read -r fleet_first fleet_second fleet_third; do
        case $fleet_first in
            size) fleet_total=$fleet_second && echo "fleet: sent 0 $fleet_total" ;;
            [0-9][0-9]:[0-9][0-9]:[0-9][0-9]) echo "fleet: sent $fleet_second $fleet_total" ;;
            full | incremental | 'resume token contents:' | 'nvlist version: 0' | *' = '* | '') ;;
            *) echo "$fleet_first${fleet_second:+ $fleet_second}${fleet_third:+ $fleet_third}" ;;
        esac
    done
}

# ── what both sides have ──────────────────────────────────────────────────────────────────────────

# fleet_remember REPLICA SNAPSHOT BOOKMARK GUID: a bookmark of what the replica has; those that came before it go
fleet_remember() {
    if [ "$(zfs get -Hp -o value guid "$3" 2>/dev/null)" != "$4" ]; then
        fleet_record making "${2#*@}" "$3" "$4" && zfs bookmark "$2" "$3" && fleet_record made "${2#*@}" "$3" "$4" || return
    fi
    zfs list -H -d 1 -t bookmark -o name,guid -- "${2%@*}" | while read -r fleet_name fleet_guid; do
        [ "$fleet_name" != "$3" ] || continue
        case $fleet_name in "${2%@*}#fleet-$1-"????????t??????z) ;; *) continue ;; esac
        fleet_recorded "$fleet_name" || continue
        fleet_record removing "${fleet_name##*-}" "$fleet_name" "$fleet_guid" "$3 follows it" && fleet_destroy_bookmark "$fleet_name" &&
            fleet_record removed "${fleet_name##*-}" "$fleet_name" "$fleet_guid"
    done
}

# ── removing ──────────────────────────────────────────────────────────────────────────────────────

# fleet_copies_gone HOST PARENT TARGET ENTRY...: the replica answers and has none of these; an entry is `NAME=GUID REASON`
fleet_copies_gone() {
    fleet_seen=$(fleet_look "$1" "$2" "$3") || return
    fleet_parted=$3
    shift 3
    for fleet_entry; do
        fleet_entry=${fleet_entry%% *}
        ! printf '%s\n' "$fleet_seen" | cut -f 1 | grep -qxF -e "$fleet_parted@${fleet_entry%=*}" || return
    done
}

# fleet_drop_copies HOST PARENT TARGET MARK NEWEST ENTRY...: removes copies, one a command; never the one with the guid NEWEST
fleet_drop_copies() {
    fleet_host=$1 fleet_parent=$2 fleet_target=$3 fleet_mark=$4 fleet_newest=$5 fleet_bad=0
    shift 5
    for fleet_entry; do
        fleet_each=${fleet_entry%% *}
        fleet_drop_copy "${fleet_each%=*}" "${fleet_each##*=}" "${fleet_entry#"$fleet_each"}" || fleet_bad=1
    done
    return "$fleet_bad"
}

fleet_drop_copy() {
    fleet_path=$fleet_target@$1
    [ "$fleet_host" = - ] || fleet_path=$fleet_host:$fleet_path
    fleet_one_snapshot "$fleet_target@$1" || { echo "fleet: kept $fleet_path it is no name of a snapshot of fleet's"; return 1; }
    fleet_recorded_as "$fleet_path" "$2" || { echo "fleet: kept $fleet_path it is not in the record of what fleet sent"; return 1; }
    fleet_record removing "$1" "$fleet_path" "$2" "${3# }" || return
    # What says that it may go is read there, directly before; the newest one is never removed: the next starts from it.
    # A replica may be no Linux: options come first, and no -- after a property, which only glibc's getopt finds there.
    fleet_said=$(fleet_ask "$fleet_host" sh -c "$fleet_destroying"'
        no() { echo "$1"; exit 1; }
        snapshots=$(zfs list -Hp -d 1 -t snapshot -s createtxg -o name,guid -- "$1") || no "it cannot be read"
        found=$(printf "%s\n" "$snapshots" | awk -F "\t" -v name="$1@$2" "\$1 == name { print \$2 }")
        [ -n "$found" ] || exit 0
        [ "$found" = "$3" ] || no "it is another snapshot than the one that was planned"
        last=$(printf "%s\n" "$snapshots" | tail -n 1 | cut -f 2)
        [ "$found" != "$5" ] && [ "$found" != "$last" ] || no "it is what both sides have last"
        [ "$(zfs get -Hp -s local,received -o value fleet:replica "$1")" = "$4" ] || no "its dataset does not carry our mark"
        [ "$(zfs get -Hp -o value userrefs "$1@$2")" = 0 ] || no "it is held"
        clones=$(zfs get -Hp -o value clones "$1@$2")
        [ -z "$clones" ] || [ "$clones" = - ] || no "it has clones: $clones"
        fleet_destroy "$1@$2" 2>&1' sh "$fleet_target" "$1" "$2" "$fleet_mark" "$fleet_newest")
    if fleet_copies_gone "$fleet_host" "$fleet_parent" "$fleet_target" "$1=$2"; then
        fleet_record removed "$1" "$fleet_path" "$2"
    else
        fleet_record failed "$1" "$fleet_path" "$2"
        echo "fleet: kept $fleet_path $(printf '%s\n' "$fleet_said" | grep . | tail -n 1)"
        return 1
    fi
}

# fleet_recorded_as PATH GUID: the record says that fleet made this, and with this guid
fleet_recorded_as() {
    awk -v path="$1" -v guid="$2" '$4 == path && $5 == guid && ($2 == "making" || $2 == "made") { found = 1; exit }
        END { exit !found }' "$fleet_state/backups.log" 2>/dev/null
}
