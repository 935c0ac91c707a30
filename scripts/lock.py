"""Write the lock files from pyproject.toml, or say with --check whether they are older than it.

The first line of each holds a digest of everything in pyproject.toml that decides what is locked.
Writing needs uv (`.venv/bin/pip install uv`).
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"requirements.lock": (), "requirements-dev.lock": ("--extra", "test")}
COMPILE = (
    "uv pip compile pyproject.toml --group pyproject.toml:build --universal --python-version 3.11"
    " --generate-hashes --no-header --no-annotate --quiet"
).split()


def wanted(pyproject: str) -> str:
    """The digest of what pyproject.toml says about dependencies."""
    data = tomllib.loads(pyproject)
    project = data["project"]
    said = (
        project["requires-python"],
        project["dependencies"],
        project["optional-dependencies"],
        data["dependency-groups"],
    )
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def locked(lock: str) -> str:
    """The digest in a lock file's first line; empty if there is none."""
    match = re.match(r"# pyproject\.toml (\w+)", lock)
    return match[1] if match else ""


def main(check: bool) -> int:
    """0 if the locks are current or have been written, 1 if --check finds one that is not."""
    digest = wanted((ROOT / "pyproject.toml").read_text("utf-8"))
    for name, extra in LOCKS.items():
        path = ROOT / name
        if check:
            if not path.is_file() or locked(path.read_text("utf-8")) != digest:
                print(f"{name} is older than pyproject.toml: run python scripts/lock.py", file=sys.stderr)
                return 1
            continue
        made = subprocess.run([*COMPILE, *extra], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        head = f"# pyproject.toml {digest}; written by scripts/lock.py, not by hand\n"
        path.write_text(head + made.stdout, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
