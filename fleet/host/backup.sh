# shellcheck shell=sh
# What backups do on the host: freeze, snapshot, remove, and the record of both. Sent with the steps that call it.
