# shellcheck shell=sh disable=SC2154 # process.sh, which comes first, sets fleet_run
# Long actions, detached from the connection that started them. One job is one directory of $fleet_run/jobs:
#
#   title     one line for people
#   script    what it runs
#   log       what that printed
#   pid       its process: id and start time
#   rc        its exit code, written last; a job without it whose process is gone was killed
#
# The job's own process claims the name, by renaming its directory: one that has the name runs or has run, and
# a second one of the same name never starts.

# shellcheck disable=SC2016 # this is the text of the job's own shell
fleet_job_main='
read -r stat </proc/self/stat
rest=${stat##*) }
fleet_field() { shift 19; echo "$1"; }
echo "$$ $(fleet_field $rest)" >"$1/pid"
mv -T "$1" "$2" 2>/dev/null || { rm -rf "$1"; exit; }
umask 022
cd /
sh "$2/script"
echo $? >"$2/rc.new"
mv "$2/rc.new" "$2/rc"
'

# fleet_launch ID TITLE UNIQUE <SCRIPT: start the job, unless there is one of this name
fleet_launch() {
    fleet_job=$fleet_run/jobs/$1
    [ -d "$fleet_job" ] && return
    fleet_new=$fleet_run/jobs/.$1.$3
    (umask 077 && mkdir -p "$fleet_run/jobs" && mkdir "$fleet_new" &&
        printf '%s\n' "$2" >"$fleet_new/title" && cat >"$fleet_new/script" && : >"$fleet_new/log") || return
    setsid sh -c "umask 077; $fleet_job_main" fleet-job "$fleet_new" "$fleet_job" \
        </dev/null >"$fleet_new/log" 2>&1 &
    until [ -d "$fleet_job" ]; do
        fleet_started "$!" >/dev/null || [ -d "$fleet_job" ] || return
        sleep 0.02
    done
}

# fleet_follow ID LINES MARK: the log from after so many lines, as it grows; at the end `MARK ended CODE`,
# `MARK killed` or `MARK gone`. The job is removed only when the listener says that it has seen this, by the last
# of its followers: they share a lock on its log, which those let go of soon whose link broke.
fleet_follow() {
    fleet_job=$fleet_run/jobs/$1
    if ! [ -e "$fleet_job/log" ] || ! exec 8<"$fleet_job/log" || ! flock -s 8 ||
        ! { read -r fleet_pid fleet_start <"$fleet_job/pid"; } 2>/dev/null; then
        echo "$3 gone"
        return
    fi
    echo "$3 found"
    fleet_seen=$(head -n "$2" "$fleet_job/log" | wc -c)
    fleet_pause=0.05
    while :; do
        # Looked up before the log is read: what is written before the end is then read before it is said.
        fleet_end=$(fleet_job_end "$fleet_job" "$fleet_pid" "$fleet_start")
        fleet_size=$(wc -c <"$fleet_job/log")
        if [ "$fleet_size" -gt "$fleet_seen" ]; then
            tail -c "+$((fleet_seen + 1))" "$fleet_job/log" | head -c "$((fleet_size - fleet_seen))"
            fleet_seen=$fleet_size
            fleet_pause=0.05
        fi
        [ -n "$fleet_end" ] && break
        sleep "$fleet_pause"
        case $fleet_pause in 0.05) fleet_pause=0.1 ;; 0.1) fleet_pause=0.2 ;; 0.2) fleet_pause=0.4 ;; esac
    done
    [ -n "$(tail -c 1 "$fleet_job/log")" ] && echo
    echo "$3 $fleet_end"
    read -r fleet_answer && [ "$fleet_answer" = seen ] && flock -w 2 8 && rm -rf "$fleet_job"
}

# fleet_job_end DIRECTORY PID START: `ended CODE`, `killed`, or nothing while it runs
fleet_job_end() {
    if [ ! -e "$1/rc" ] && fleet_alive "$2" "$3"; then return; fi
    # Looked up once more: it may have ended since the first look.
    if [ -e "$1/rc" ]; then echo "ended $(cat "$1/rc")"; else echo killed; fi
}

# fleet_list: a line `ID running|killed|ended CODE|TITLE` for each job
fleet_list() {
    for fleet_job in "$fleet_run"/jobs/*/; do
        fleet_job=${fleet_job%/}
        { read -r fleet_pid fleet_start <"$fleet_job/pid"; } 2>/dev/null || continue
        fleet_end=$(fleet_job_end "$fleet_job" "$fleet_pid" "$fleet_start")
        echo "${fleet_job##*/} ${fleet_end:-running}|$(cat "$fleet_job/title")"
    done
}
