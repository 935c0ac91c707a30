# shellcheck shell=sh disable=SC2154 # backup.sh, which comes first, sets fleet_state
# What archives do on the host: vzdump with our mark, and the removal of what carries it. Sent with the steps that call it.

# fleet_archives STORAGE VMID: the archives of a guest, a line `VOLID CTIME SIZE PROTECTED NOTES` each, tabs between; of
# notes with several lines Proxmox gives the first. Fails where Proxmox cannot list them.
fleet_archives() {
    fleet_listed=$(timeout -k 5 120 pvesh get "/nodes/localhost/storage/$1/content" --content backup --vmid "$2" \
        --output-format json-pretty) || return
    printf '%s\n' "$fleet_listed" | awk '
        /^[ \t]*\{/ { split("", field) }
        match($0, /^[ \t]*"[a-z-]+" : /) {
            key = $0; sub(/^[ \t]*"/, "", key); sub(/".*/, "", key)
            value = substr($0, RLENGTH + 1); sub(/,$/, "", value)
            if (value ~ /^"/) value = substr(value, 2, length(value) - 2)
            field[key] = value
        }
        /^[ \t]*\}/ && "volid" in field { # not that of what PBS tells of a verification
            printf "%s\t%s\t%s\t%d\t%s\n", field["volid"], field["ctime"], field["size"], field["protected"] == 1, field["notes"]
        }'
}

# fleet_archives_of STORAGE VMID SET: those of them that this fleet made in this run, whole or not
fleet_archives_of() {
    fleet_archives "$1" "$2" | awk -F '\t' -v mark="fleet: owner=$(cat "$fleet_state/installation") set=$3 " \
        'index($5 " ", mark) == 1'
}

# fleet_archived STORAGE VMID SET: an archive of this run is there, protected and not empty
fleet_archived() { fleet_archives_of "$@" | awk -F '\t' '$3 > 0 && $4 { found = 1 } END { exit !found }'; }

# fleet_unlocks VMID: Proxmox holds no lock on the guest, or lets it go within a minute
fleet_unlocks() {
    fleet_tries=60
    while fleet_lock "$1" >/dev/null; do
        fleet_tries=$((fleet_tries - 1))
        [ "$fleet_tries" -gt 0 ] || return
        sleep 1
    done
}

# fleet_dump SET VMID STORAGE MODE COMPRESS BWLIMIT: one archive of a guest; BWLIMIT may be empty. keep-all, so that the
# storage's own prune-backups, which are not ours, remove nothing through us (PVE/VZDump.pm: the command line wins).
fleet_dump() {
    fleet_id=$(fleet_installation) || return
    fleet_settle_archives "$3" "$2"
    fleet_record making "$1" "$3:$2" - || return
    vzdump "$2" --storage "$3" --mode "$4" --compress "$5" --protected 1 --prune-backups keep-all=1 \
        --notes-template "fleet: owner=$fleet_id set=$1 {{guestname}}" ${6:+--bwlimit "$6"}
    fleet_code=$?
    fleet_settle_archives "$3" "$2"
    # vzdump passes over a guest of another node without a word, and exits 0 (pve-facts 6.4).
    fleet_archived "$3" "$2" "$1" || { echo "vzdump ended with exit code $fleet_code and left no archive of this run"; return 1; }
}

# fleet_settle_archives STORAGE VMID: what vzdump was begun for and the record does not say how it ended: now it does. The
# archive's name is known only afterwards, so the record says STORAGE:VMID before.
fleet_settle_archives() {
    fleet_begun=$(awk -v path="$1:$2" '$4 == path { if ($2 == "making") begun[$3]; else delete begun[$3] }
        END { for (set in begun) print set }' "$fleet_state/backups.log" 2>/dev/null)
    for fleet_each in $fleet_begun; do
        fleet_found=$(fleet_archives "$1" "$2") || return
        fleet_found=$(fleet_archives_of "$1" "$2" "$fleet_each" | awk -F '\t' '$3 > 0 { print $1 }')
        for fleet_volid in $fleet_found; do fleet_record made "$fleet_each" "$fleet_volid" - || return; done
        if [ -n "$fleet_found" ]; then fleet_record made "$fleet_each" "$1:$2" -; else fleet_record failed "$fleet_each" "$1:$2" -; fi
    done
}

# ── removing ──────────────────────────────────────────────────────────────────────────────────────

# fleet_no_archive STORAGE VMID VOLID: Proxmox lists the guest's archives, and this one is not among them
fleet_no_archive() {
    fleet_found=$(fleet_archives "$1" "$2") || return
    ! printf '%s\n' "$fleet_found" | cut -f 1 | grep -qxF -e "$3"
}

# fleet_archive_removable STORAGE VMID VOLID CTIME: it is the one that was meant, it is ours, and it is not pinned
fleet_archive_removable() {
    fleet_recorded "$3" || { echo "$3 is not in the record of what fleet made"; return 1; }
    fleet_id=$(cat "$fleet_state/installation") && [ -n "$fleet_id" ] || return
    fleet_found=$(fleet_archives "$1" "$2") || return
    printf '%s\n' "$fleet_found" | awk -F '\t' -v volid="$3" -v created="$4" -v mark="fleet: owner=$fleet_id set=" '
        $1 == volid && $2 == created && index($5, mark) == 1 { found = 1 } END { exit !found }' ||
        { echo "$3 does not carry our mark any more, or is of another time"; return 1; }
    fleet_found=$(fleet_archive_pins "$1" "$3") || return
    printf '%s\n' "$fleet_found" | awk -v today="$(date -u +%Y-%m-%d)" '$1 >= today { print "pinned until " $1; pinned = 1 } END { exit pinned }'
}

# fleet_archive_pins STORAGE VOLID: the dates until which its notes pin it, which may stand in any of their lines
fleet_archive_pins() {
    fleet_found=$(timeout -k 5 120 pvesh get "/nodes/localhost/storage/$1/content/$2" --output-format json) || return
    printf '%s\n' "$fleet_found" | LC_ALL=C grep -o 'fleet: pinned=[0-9-]*' | sed 's/.*=//'
    return 0
}

# fleet_archive_pinned STORAGE VOLID DATE: its notes pin it until then; `-`: not at all
fleet_archive_pinned() { fleet_found=$(fleet_archive_pins "$1" "$2") && [ "$fleet_found" = "${3#-}" ]; }

# fleet_drop_archive SET STORAGE VMID VOLID CTIME REASON: removes one archive; where that fails it is protected as before
fleet_drop_archive() {
    fleet_archive_removable "$2" "$3" "$4" "$5" || return
    fleet_record removing "$1" "$4" - "$6" || return
    pvesh set "/nodes/localhost/storage/$2/content/$4" --protected 0 && pvesm free "$4"
    if fleet_no_archive "$2" "$3" "$4"; then
        fleet_record removed "$1" "$4" -
    else
        fleet_record failed "$1" "$4" -
        pvesh set "/nodes/localhost/storage/$2/content/$4" --protected 1
        return 1
    fi
}
