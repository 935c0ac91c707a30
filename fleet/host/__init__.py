"""What touches a machine? The shell port and its transports, jobs, lock, apply, journal."""
