"""Snapshots of guests and datasets: taken together, removed one by one."""
