"""Storage: ZFS datasets, Proxmox storages, container templates."""

from fleet.domains.storage.facts import StorageFacts, probes, read
from fleet.domains.storage.plan import directories, plan, providers, volume_ids
from fleet.domains.storage.spec import located

__all__ = ["StorageFacts", "directories", "located", "plan", "probes", "providers", "read", "volume_ids"]
