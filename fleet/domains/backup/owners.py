"""Who probably made a snapshot that is not fleet's: the forms of names that other tools use (backup.md 1)."""

from __future__ import annotations

import re

_FORMS = (
    ("sanoid", r"autosnap_.*"),
    ("syncoid", r"syncoid_.*"),
    ("zfs-auto-snapshot", r"zfs-auto-snap_.*"),
    ("zrepl", r"zrepl_.*"),
    ("cv4pve-autosnap", r"auto[A-Za-z0-9_-]*\d{12}"),
    ("pve-zsync", r"rep_.*"),
    ("Proxmox replication", r"__replicate_.*"),
    ("Proxmox template", r"__base__"),
    ("Proxmox migration", r"__migration__"),
    ("vzdump", r"vzdump"),
    ("znapzend", r"\d{4}-\d{2}-\d{2}-\d{6}"),
    ("zfs_autobackup", r"[A-Za-z0-9]+-\d{14}"),
    ("TrueNAS", r"auto-\d{4}-\d{2}-\d{2}.*"),
    ("another fleet", r"fleet-.*"),
)


def probable_owner(name: str) -> str:
    """The tool whose form the name has; `manual` for any other."""
    return next((owner for owner, form in _FORMS if re.fullmatch(form, name)), "manual")
