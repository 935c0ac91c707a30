"""Backups of a node: what is read for them, and their runs. The deciding is in fleet/domains/backup."""
