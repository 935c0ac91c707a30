"""How do we say it? The commands of the host and the meaning of what they print. Pure."""
