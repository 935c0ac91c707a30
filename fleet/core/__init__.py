"""What is a plan? Pure values: errors, commands and their quoting, checks, steps, plans, probes."""
