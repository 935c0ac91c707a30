"""When does what run by itself? systemd's timers or crontab's lines, from the schedules of hosts.yml."""
