"""Where the lab answers otherwise than real OpenZFS, and why that is left so: (topic, command) -> reason."""

DIFFERENT: dict[tuple[str, str], str] = {}
