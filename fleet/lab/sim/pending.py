"""The [pve:pending] section.

The list of deletions, merging, and what is left of it (pve-guest-common AbstractConfig).
"""

from __future__ import annotations

from .conf import Config, Keys, encode_text


def deletions(pending: Keys) -> dict[str, bool]:
    """The keys to delete; True where the deletion is forced (a leading `!`)."""
    words = pending.get("delete", "").replace(";", ",").replace(" ", ",").split(",")
    return {word.lstrip("!"): word.startswith("!") for word in words if word}


def _set_deletions(pending: Keys, keys: dict[str, bool]) -> None:
    if keys:
        pending["delete"] = ",".join(f"!{key}" if keys[key] else key for key in sorted(keys))
    else:
        pending.pop("delete", None)


def add_deletion(pending: Keys, key: str) -> None:
    """Note a key for deletion."""
    _set_deletions(pending, {**deletions(pending), key: False})


def drop_deletion(pending: Keys, key: str) -> None:
    """Forget a deletion."""
    _set_deletions(pending, {name: force for name, force in deletions(pending).items() if name != key})


def clean(config: Config) -> None:
    """Drop changes that change nothing and deletions of what is not set."""
    for key in [
        key for key, value in config.pending.items() if key != "delete" and config.keys.get(key) == value
    ]:
        del config.pending[key]
    _set_deletions(
        config.pending, {key: force for key, force in deletions(config.pending).items() if key in config.keys}
    )


def merged(config: Config) -> Keys:
    """The keys as they will be."""
    keys = {**config.keys, **{key: value for key, value in config.pending.items() if key != "delete"}}
    return {key: value for key, value in keys.items() if key not in deletions(config.pending)}


def table(config: Config) -> list[str]:
    """The lines of `pct pending`."""
    gone = deletions(config.pending)
    lines = []
    for key in sorted({*config.keys, *config.pending} - {"delete"}):
        old, new = (_shown(key, keys.get(key)) for keys in (config.keys, config.pending))
        if old is None:
            lines.append(f"new {key}: {new}")
        elif key in gone:
            lines.append(f"del {key}: {old}")
        else:
            lines.append(f"cur {key}: {old}")
            lines += [] if new is None else [f"new {key}: {new}"]
    return lines


def _shown(key: str, value: str | None) -> str | None:
    return encode_text(value) if key == "description" and value is not None else value
