#!/bin/sh
# `dpkg` on the lab's node: its architecture, whatever machine it is on.
[ "$*" = --print-architecture ] && exec echo amd64
printf 'dpkg: error: need an action option\n' >&2
exit 2
