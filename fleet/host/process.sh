# shellcheck shell=sh
# Which process is meant, and does it still run? A process id alone does not say: it is used again.

# Where fleet keeps what belongs to this boot; another place only in tests.
# shellcheck disable=SC2034 # read by what is sent after this
fleet_run=${FLEET_RUN:-/run/fleet}

# fleet_started PID: when the process started, in ticks since boot; fails if it is gone or only waits to be reaped.
# It is field 22 of /proc/PID/stat (proc(5)); field 2, the name in parentheses, may hold blanks itself.
fleet_started() {
    { read -r fleet_stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    # shellcheck disable=SC2086 # the fields are to be split
    set -- ${fleet_stat##*) }
    case $1 in Z | X | x | '') return 1 ;; esac
    echo "${20}"
}

# fleet_alive PID START: this very process still runs
fleet_alive() {
    [ -n "$1" ] && [ -n "$2" ] && [ "$(fleet_started "$1")" = "$2" ]
}
