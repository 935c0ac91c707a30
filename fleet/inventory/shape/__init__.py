"""What may hosts.yml hold? The types that read it, and that its schema and reference are made from."""
