"""`python -m fleet`: the same tasks without a tasks.py, mostly for `python -m fleet init DIR`."""

from __future__ import annotations

from fleet import __version__
from fleet.tasks import namespace
from fleet.tasks.program import FleetProgram

FleetProgram(
    version=__version__, namespace=namespace, name="fleet", binary="python -m fleet", binary_names=["fleet"]
).run()
