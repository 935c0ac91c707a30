"""The calls of the API that change what is on a storage: attributes of backups, deletion, pruning."""

from __future__ import annotations

import re

from .errors import ParamError
from .props import boolean

VOLUME = re.compile(r"/nodes/([^/]+)/storage/([^/]+)/content/(.+)")
PRUNE = re.compile(r"/nodes/([^/]+)/storage/([^/]+)/prunebackups")


def set_volume(storage: str, name: str, given: dict[str, str]) -> int:
    """Change the notes or the protection of a backup."""
    from . import storage_attributes
    from .api_storage import volume_id

    volid = volume_id(storage, name)
    if "notes" in given:
        storage_attributes.set_notes(volid, given["notes"])
    if "protected" in given:
        wanted = boolean(given["protected"])
        if wanted is None:
            raise ParamError({"protected": f"type check ('boolean') failed - got '{given['protected']}'"})
        storage_attributes.protect(volid, wanted == "1")
    return 0


def delete(path: re.Match[str], given: dict[str, str]) -> None:
    """Delete a volume, or prune the backups of a storage, in a task."""
    from . import prune, pvesm
    from .api_storage import volume_id

    if path.re is VOLUME:
        pvesm.free(volume_id(path[2], path[3]))
        return
    keep = prune.parse(given["prune-backups"]) if "prune-backups" in given else None
    pvesm.prune_backups(path[2], keep, int(given["vmid"]) if "vmid" in given else None, given.get("type"))
