"""Restoring: beside the original, in its place, or only to prove that it can be done."""
