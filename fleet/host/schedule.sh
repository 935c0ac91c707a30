# shellcheck shell=sh
# What the steps of schedules call on the machine that runs fleet: unit files, systemd's timers, one crontab.

# fleet_file FILE SHA1: it has exactly this content; fleet_no_file FILE: nothing is there
fleet_file() { [ "$(sha1sum <"$1")" = "$2  -" ]; }
fleet_no_file() { [ ! -e "$1" ] && [ ! -L "$1" ]; }

# fleet_write FILE TEXT: the file gets this content at once, or stays as it is
fleet_write() {
    mkdir -p "${1%/*}" && printf '%s' "$2" >"$1.fleet-new" && chmod 644 "$1.fleet-new" && mv -f "$1.fleet-new" "$1"
}

# fleet_timer NAME [--user]: systemd knows the timer as its file says, and waits for its next time
fleet_timer() {
    systemctl ${2:+"$2"} is-enabled -q "$1" && systemctl ${2:+"$2"} is-active -q "$1" &&
        [ "$(systemctl ${2:+"$2"} show -p NeedDaemonReload --value "$1")" != yes ]
}

# fleet_cron_list FILE: writes the crontab to FILE; fails where it cannot be read, which is not the same as that
# there is none, and where it would not come back as it was: Debian's crontab -l shows a carriage return as \r
fleet_cron_list() {
    if ! crontab -l >"$1" 2>"$1.said" && ! grep -qi -e 'no crontab for' -e 'no such file' "$1.said"; then
        cat "$1.said" >&2
        return 1
    fi
    if grep -q '\\r$' "$1"; then
        echo 'a line of it ends with a carriage return, as Windows writes it: take that out with crontab -e' >&2
        return 1
    fi
}

# fleet_cron_split FOLDER BEGIN END: the crontab as FOLDER/ours, our block, and FOLDER/rest, byte for byte what is
# other people's; fails where our block has no end
fleet_cron_split() {
    : >"$1/ours"
    : >"$1/rest"
    fleet_cron_list "$1/all" && FOLDER=$1 BEGIN=$2 END=$3 LC_ALL=C awk '
        $0 == ENVIRON["BEGIN"] { inside = 1; next }
        inside && $0 == ENVIRON["END"] { inside = 0; next }
        { print > (ENVIRON["FOLDER"] "/" (inside ? "ours" : "rest")) }
        END { exit inside }' "$1/all"
}

# fleet_cron_is BEGIN END LINES: our block holds these lines; with no lines: there is none
fleet_cron_is() (
    folder=$(mktemp -d) || exit 1
    trap 'rm -rf "$folder"' EXIT
    fleet_cron_split "$folder" "$1" "$2" && [ "$(cat "$folder/ours")" = "$3" ]
)

# fleet_cron_put BEGIN END LINES: makes these lines our block; with no lines: there is none afterwards
fleet_cron_put() (
    folder=$(mktemp -d) || exit 1
    trap 'rm -rf "$folder"' EXIT
    fleet_cron_split "$folder" "$1" "$2" || exit 1
    [ -z "$3" ] || printf '%s\n' "$1" "$3" "$2" >>"$folder/rest" || exit 1
    if [ -s "$folder/rest" ]; then crontab "$folder/rest"; else crontab -r; fi
)
