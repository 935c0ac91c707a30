# shellcheck shell=sh
# What restoring does on the host. Sent with the steps that call it.
