"""The lab: a simulated Proxmox VE node behind a real SSH server on this machine; lab.py is its door."""

from fleet.lab.lab import Lab, LabError, down, known, reset, status, up

__all__ = ["Lab", "LabError", "down", "known", "reset", "status", "up"]
