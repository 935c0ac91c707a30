"""The shell that steps are sent: every function has one definition, whichever files are sent together."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

HOST = Path(__file__).resolve().parents[2] / "fleet" / "host"


def test_no_two_files_for_the_host_define_the_same_function() -> None:
    names = [
        name
        for file in sorted(HOST.glob("*.sh"))
        for name in re.findall(r"^(fleet_\w+)\(\)", file.read_text("utf-8"), re.MULTILINE)
    ]
    assert names
    assert [name for name, times in Counter(names).items() if times > 1] == []
