# shellcheck shell=sh
# What sending snapshots to a replica does on the host. Sent with the steps that call it.
