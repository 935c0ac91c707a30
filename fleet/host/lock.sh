# shellcheck shell=sh disable=SC2154 # process.sh, which comes first, sets fleet_run
# One run at a time. The kernel's lock on a file of $fleet_run is the lock; what stands in the file says who has it:
#
#   PID START BOOT SINCE RUN WHO WHAT
#
# the holding process (id, start time, boot id), seconds since 1970, and whose run it is, in the client's words.

# fleet_hold RUN WHO WHAT MARK PATIENCE NAME: take the lock of this name and hold it until stdin ends, says anything but `.`, or says
# nothing for PATIENCE seconds. Prints `MARK held`, or `MARK locked RECORD`; before it, `MARK dead RECORD` if a
# holder died without letting go.
fleet_hold() {
    fleet_lock_file=$fleet_run/$6
    (umask 077 && mkdir -p "$fleet_run" && : >>"$fleet_lock_file") || return
    exec 9<>"$fleet_lock_file" || return
    fleet_tries=0
    until flock -n 9; do
        fleet_record=$(cat "$fleet_lock_file")
        if fleet_record_alive "$fleet_record"; then
            # shellcheck disable=SC2086 # the fields are to be split
            set -- "$1" "$2" "$3" "$4" "$5" $fleet_record
            if [ "${10}" != "$1" ]; then
                echo "$4 locked $fleet_record"
                return
            fi
            kill "$6" # our own holder, of a connection that broke
        elif [ "$fleet_tries" -ge 50 ]; then
            echo "$4 locked $fleet_record"
            return
        fi
        fleet_tries=$((fleet_tries + 1))
        sleep 0.1 # a holder that comes or goes: its record is about to be written
    done
    fleet_record=$(cat "$fleet_lock_file")
    [ -n "$fleet_record" ] && echo "$4 dead $fleet_record"
    # Not in a subshell: /proc/self is to be the process that holds the lock.
    read -r fleet_self </proc/self/stat
    fleet_pid=${fleet_self%% *}
    echo "$fleet_pid $(fleet_started "$fleet_pid") $(cat /proc/sys/kernel/random/boot_id) $(date +%s) $1 $2 $3" \
        >"$fleet_lock_file"
    echo "$4 held"
    while [ "$(exec 9>&- && timeout "$5" dd bs=1 count=1 2>/dev/null)" = . ]; do :; done
    : >"$fleet_lock_file"
}

# fleet_record_alive RECORD: the process that it names still runs, in this boot
fleet_record_alive() {
    # shellcheck disable=SC2086 # the fields are to be split
    set -- $1
    [ "$3" = "$(cat /proc/sys/kernel/random/boot_id)" ] && fleet_alive "$1" "$2"
}
