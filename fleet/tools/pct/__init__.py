"""Containers in Proxmox's own words: config keys, config files, pct commands."""
