"""Restoring: a guest or dataset of a backup beside the original, in its place, or only to prove that it can be."""
