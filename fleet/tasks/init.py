"""`inv init DIR`: a new repository for one's own fleet."""

from __future__ import annotations

from fleet.tasks.cli import Options, task


@task(help={"folder": "the folder to make; it may exist, but none of the files to be written may"})
def init(options: Options, folder: str) -> int:
    """Make a new fleet in a folder: tasks.py, a commented hosts.yml, its schema, .gitignore, README.md."""
    import shlex
    import sys
    from pathlib import Path

    from fleet.starter import make

    for path in make(Path(folder)):
        print(path)
    inv = Path(sys.argv[0]).resolve() if Path(sys.argv[0]).name in ("inv", "invoke") else "inv"
    print(f"next: cd {shlex.quote(folder)} && {inv} check && {inv} plan", file=sys.stderr)
    return 0
