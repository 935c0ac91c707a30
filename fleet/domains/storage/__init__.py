"""Storage: ZFS datasets, Proxmox storages, container templates."""

from fleet.domains.storage.facts import StorageFacts, probes, read
from fleet.domains.storage.plan import plan, providers, unready, volume_ids

__all__ = ["StorageFacts", "plan", "probes", "providers", "read", "unready", "volume_ids"]
