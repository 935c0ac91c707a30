"""The shortest script that reads what `inv plan` reads: one execution over Fabric. It compares nothing."""

import sys

from fabric import Connection

READ = """
tail -v -n +1 /etc/pve/lxc/*.conf; sha1sum /etc/pve/lxc/*.conf
cat /etc/pve/.vmlist /proc/net/unix /etc/pve/storage.cfg /proc/meminfo; hostname
dpkg-query -W -f '${Version}\n' pve-container; ls -d /sys/class/net/*/bridge
zpool list -H -o name; zfs get -Hp -o name,property,value -r -d 1 quota,mountpoint,used,mounted tank
stat -c '%u %g %a %n' /data; ls /var/lib/vz/template/cache
"""

host, port, key, count = sys.argv[1:]
with Connection(host, user="root", port=int(port), connect_kwargs={"key_filename": key}) as node:
    text = node.run(READ, hide=True).stdout
files = text.split("==> ")[1:]
configs = [dict(line.split(": ", 1) for line in file.splitlines() if ": " in line) for file in files]
assert len(configs) == int(count), len(configs)
