"""The loop that one writes first: one `pct config` a container. Arguments: HOST PORT KEY FILE-OF-VMIDS."""

import sys
from pathlib import Path

from fabric import Connection

host, port, key, vmids = sys.argv[1:]
with Connection(host, user="root", port=int(port), connect_kwargs={"key_filename": key}) as node:
    for vmid in Path(vmids).read_text().split():
        text = node.run(f"pct config {vmid}", hide=True).stdout
        config = dict(line.split(": ", 1) for line in text.splitlines())
        assert config["hostname"], vmid
