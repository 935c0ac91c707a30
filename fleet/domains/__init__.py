"""What do we want? One package a domain: Spec, Facts and their probes, plan, steps. Pure."""
