"""fleet runs a Proxmox VE homelab from one file, hosts.yml."""

__version__ = "0.1.0"
