"""Backups: snapshots, archives and copies of what hosts.yml declares, and what is kept of them."""
