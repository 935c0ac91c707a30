"""The lab: a simulated Proxmox VE node behind a real SSH server on this machine. See lab.py for what can be asked of it."""

from fleet.lab.lab import Lab, LabError, down, known, reset, status, up

__all__ = ["Lab", "LabError", "down", "known", "reset", "status", "up"]
