# shellcheck shell=sh
# What every step's script can ask the host. Sent before each step, so that a guard and its action are one script.
# All of it only reads, except fleet_put, fleet_raw and fleet_keep_started. Nothing here is specific to one step.

LC_ALL=C.UTF-8
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL PATH

# fleet_conf VMID: the container's main section and what is pending, nothing of its snapshots
fleet_conf() {
    awk '/^\[/ { section = ""; other = 1 }
        /^\[pve:pending\][ \t]*$/ { section = "pending "; other = 0; next }
        { sub(/^lxc\.environment\.runtime[ \t]*[:=]/, "env:") } # as Proxmox reads it (pve-facts 1.1)
        NF && !other { print section $0 }' "/etc/pve/lxc/$1.conf"
}

# fleet_value VMID KEY: the value after the next restart: pending beats delete, delete beats what is in force
fleet_value() {
    if [ "$2" = description ]; then
        fleet_conf "$1" | grep '^#'
        return
    fi
    fleet_conf "$1" | awk -v key="$2" '
        { later = sub(/^pending /, ""); colon = index($0, ":"); name = substr($0, 1, colon - 1) }
        { value = substr($0, colon + 1); sub(/^[ \t]+/, "", value); sub(/[ \t\r]+$/, "", value) }
        later && name == "delete" {
            n = split(value, gone, /[ \t,;]+/)
            for (i = 1; i <= n; i++) { sub(/^!/, "", gone[i]); if (gone[i] == key) deleted = 1 }
            next
        }
        name != key { next }
        later { pending = value; waits = 1; next }
        { current = value; found = 1 }
        END { if (waits) print pending; else if (found && !deleted) print current; else exit 1 }'
}

# fleet_is VMID KEY TEXT: the value is exactly this
fleet_is() { [ "$(fleet_value "$1" "$2")" = "$3" ]; }

# fleet_like VMID KEY ERE: the whole value matches the extended regular expression
fleet_like() { fleet_value "$1" "$2" | LC_ALL=C grep -Eqx -e "$3"; }

# fleet_size VMID KEY ERE: the volume's size in force; what is pending says the old one until the restart
fleet_size() { fleet_conf "$1" | LC_ALL=C grep -Eq -e "^$2:(.*,)?size=$3(,|\$)"; }

# fleet_tags VMID TAGS: the tags are these, in whatever order and case datacenter.cfg keeps them
fleet_tags() { [ "$(fleet_value "$1" tags | fleet_tag_set)" = "$(printf '%s\n' "$2" | fleet_tag_set)" ]; }
# shellcheck disable=SC2020  # each of the three separators becomes a newline
fleet_tag_set() { tr 'A-Z ,;' 'a-z\n\n\n' | LC_ALL=C sort -u | grep .; }

# fleet_unset VMID KEY: the key is not there, or will not be after the next restart
fleet_unset() { [ -e "/etc/pve/lxc/$1.conf" ] && ! fleet_value "$1" "$2" >/dev/null; }

# fleet_tagged VMID TAG
fleet_tagged() { fleet_value "$1" tags | tr ' ,' ';;' | LC_ALL=C grep -Eqi -e "(^|;)$2(;|\$)"; }

# fleet_ours VMID HOSTNAME: a finished container of this name that carries the tag fleet
fleet_ours() { fleet_is "$1" hostname "$2" && fleet_tagged "$1" fleet && ! fleet_is "$1" lock create; }

# fleet_free VMID: no guest of the cluster has this number
fleet_free() {
    set -- /etc/pve/nodes/*/lxc/"$1".conf /etc/pve/nodes/*/qemu-server/"$1".conf
    for fleet_file; do [ ! -e "$fleet_file" ] || return 1; done
}

# fleet_digest VMID SHA1: the config file is byte for byte the one that the plan saw
fleet_digest() { [ "$(sha1sum <"/etc/pve/lxc/$1.conf")" = "$2  -" ]; }

# fleet_unlocked VMID: Proxmox holds no lock on it
fleet_unlocked() { ! fleet_conf "$1" | grep -q '^lock:'; }

# fleet_settled VMID: nothing waits for a restart
fleet_settled() { ! fleet_conf "$1" | grep -q '^pending '; }

# fleet_running VMID: as Proxmox itself finds out
fleet_running() { grep -q "@/var/lib/lxc/$1/command\$" /proc/net/unix; }
fleet_stopped() { ! fleet_running "$1"; }

# fleet_started_anew VMID INODE: it runs, and not since before its command socket had this inode
fleet_started_anew() {
    fleet_running "$1" && ! awk -v path="@/var/lib/lxc/$1/command" -v inode="$2" \
        '$NF == path && $7 == inode { found = 1 } END { exit !found }' /proc/net/unix
}

# fleet_await_ha VMID CHECK...: where HA manages the guest, a start or shutdown is only queued (pve-facts 9.3): waits
# until the check holds, two minutes at most. At once where it does not.
fleet_await_ha() {
    LC_ALL=C grep -Eqs "^ct: *$1[[:blank:]]*\$" /etc/pve/ha/resources.cfg || return 0
    shift
    fleet_tries=120
    until "$@"; do
        fleet_tries=$((fleet_tries - 1))
        [ "$fleet_tries" -gt 0 ] || { echo "HA has not done it within two minutes" >&2; return 1; }
        sleep 1
    done
}

# fleet_dataset NAME: the ZFS dataset exists
fleet_dataset() { zfs list -H -o name -- "$1" >/dev/null 2>&1; }
fleet_no_dataset() { ! fleet_dataset "$1"; }

# fleet_zfs NAME PROPERTY VALUE: the property has this value (sizes in bytes)
fleet_zfs() { [ "$(zfs get -Hp -o value "$2" "$1" 2>/dev/null)" = "$3" ]; }

# fleet_vacant DIR: nothing is there that a new mount would hide
fleet_vacant() { [ ! -e "$1" ] || [ -z "$(ls -A "$1")" ]; }

# fleet_owned DIR UID:GID and fleet_mode DIR MODE
fleet_owned() { [ "$(stat -c '%u:%g' "$1" 2>/dev/null)" = "$2" ]; }
fleet_mode() { [ "$(stat -c '%a' "$1" 2>/dev/null)" = "$2" ]; }

# fleet_storage ID: storage.cfg has it; fleet_no_storage ID: it has not
fleet_storage() { awk -v id="$1" '/^[^ \t:#]+:/ && $2 == id { found = 1 } END { exit !found }' /etc/pve/storage.cfg; }
fleet_no_storage() { ! fleet_storage "$1"; }

# fleet_storage_value ID KEY VALUE: the storage's option is exactly this; a list is compared as a set
fleet_storage_value() {
    fleet_wanted=$(printf '%s' "$3" | tr ',' '\n' | sort)
    fleet_found=$(awk -v id="$1" -v key="$2" '/^[^ \t:#]+:/ { here = ($2 == id); next }
        here && $1 == key { if (NF == 1) print 1; else { sub(/^[ \t]*[^ \t]+[ \t]+/, ""); sub(/[ \t]+$/, ""); print } }' \
        /etc/pve/storage.cfg | tr ',' '\n' | sort)
    [ "$fleet_found" = "$fleet_wanted" ]
}

# fleet_newest_template PREFIX: of the template files on stdin, the newest for this node's architecture, or for the one
# that PREFIX names
fleet_newest_template() {
    awk -v prefix="$1" -v arch="$(dpkg --print-architecture 2>/dev/null)" '
        match($0, /_(amd64|i386|arm64|armhf|riscv32|riscv64)\.tar\.[a-z0-9]+$/) {
            own = substr($0, RSTART)
            sub(/\.tar\..*/, "", own)
            if (arch != "" && own != "_" arch && !index(prefix, own)) next
        }
        { print }' | sort -V | tail -n 1
}

# fleet_template DIR PREFIX: the newest template of this prefix in the cache; fails where there is none
fleet_template() {
    fleet_newest=$(cd "$1" 2>/dev/null && find . -maxdepth 1 -type f -name "$2*.tar.*" ! -name '*.tmp*' |
        sed 's|^\./||' | fleet_newest_template "$2")
    [ -n "$fleet_newest" ] && printf '%s\n' "$fleet_newest"
}
# fleet_template_volume STORAGE DIR PREFIX: its volume id
fleet_template_volume() { fleet_name=$(fleet_template "$2" "$3") && printf '%s:vztmpl/%s\n' "$1" "$fleet_name"; }
fleet_no_template() { ! fleet_template "$1" "$2" >/dev/null; }

# fleet_available PREFIX: the newest template of this prefix that pveam offers
fleet_available() {
    pveam available --section system | awk -v prefix="$1" 'index($2, prefix) == 1 { print $2 }' | fleet_newest_template "$1" | grep .
}

# fleet_put FILE TEXT: writes a file that only root can read
fleet_put() { (umask 077 && mkdir -p "${1%/*}" && printf '%s\n' "$2" >"$1"); }

# fleet_raw_lines VMID: the lxc.* lines of the main section; fleet_raw_is VMID LINES: they are these, in this order
fleet_raw_lines() { fleet_conf "$1" | sed -n 's/[[:blank:]]*$//; s/^\(lxc\.[^:=[:blank:]]*\)[[:blank:]]*[:=][[:blank:]]*/\1: /p'; }
fleet_raw_is() { [ "$(fleet_raw_lines "$1")" = "$2" ]; }

# fleet_keep_started VMID: keeps what LXC started it with, if it runs: Proxmox writes that file anew at each `pct set`
fleet_keep_started() {
    fleet_inode=$(awk -v path="@/var/lib/lxc/$1/command" '$NF == path && $4 == "00010000" { print $7 }' /proc/net/unix)
    [ -n "$fleet_inode" ] && [ ! -e "/run/fleet/lxc-$1-$fleet_inode" ] || return 0
    rm -f "/run/fleet/lxc-$1-"*
    (umask 077 && mkdir -p /run/fleet && cp "/var/lib/lxc/$1/config" "/run/fleet/lxc-$1-$fleet_inode") || :
}

# fleet_raw VMID LINES: makes these the lxc.* lines of the main section, under Proxmox's own lock (pve-facts 1.6, 3.4)
# shellcheck disable=SC2015  # cleaned up whichever of the two failed
fleet_raw() {
    mkdir -p /run/lock/lxc
    (
        flock -w 10 9 || { echo "can't lock file '/run/lock/lxc/pve-config-$1.lock' - got timeout" >&2; exit 1; }
        fleet_unlocked "$1" || { echo "CT is locked" >&2; exit 1; }
        fleet_keep_started "$1"
        fleet_file=$(readlink -f "/etc/pve/lxc/$1.conf") && fleet_new="$fleet_file.tmp.$$" || exit 1
        RAW="$2" awk '
            function raw() { if (!written++ && ENVIRON["RAW"] != "") print ENVIRON["RAW"] }
            /^\[/ { if (!main++) { raw(); print "" } }
            main { print; next }
            /^lxc\./ && !/^lxc\.environment\.runtime/ || /^[ \t]*$/ { next }
            { print }
            END { if (!main) raw() }' "$fleet_file" >"$fleet_new" && mv "$fleet_new" "$fleet_file" ||
            { rm -f "$fleet_new"; exit 1; }
    ) 9>"/run/lock/lxc/pve-config-$1.lock"
}
