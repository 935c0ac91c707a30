#!/bin/sh
# `date` on the lab's node: the machine's, moved by what /var/lib/fleet-lab/clock says (seconds).
read -r ahead 2>/dev/null </var/lib/fleet-lab/clock || exec /usr/bin/date "$@"

# The words without an option that names a moment, and that moment.
moment=
named=
for word; do
    shift
    if [ -n "$named" ]; then
        named=
        moment=$word
        continue
    fi
    case $word in
        -d | --date) named=1 ;;
        --date=*) moment=${word#--date=} ;;
        -d?*) moment=${word#-d} ;;
        -r | -f | -s | --reference* | --file* | --set* | -r?* | -f?* | -s?*)
            echo "the lab's date takes no $word while its clock is moved" >&2
            exit 1
            ;;
        *) set -- "$@" "$word" ;;
    esac
done

case $moment in
    "") exec /usr/bin/date -d "now $ahead seconds" "$@" ;;
    # A moment with a year, an epoch or a time of day is not counted from now.
    @* | *[0-9][0-9][0-9][0-9]* | *[0-9]:[0-9]*) exec /usr/bin/date -d "$moment" "$@" ;;
    *) exec /usr/bin/date -d "$moment $ahead seconds" "$@" ;;
esac
