"""Every file of bad/ is refused with exactly the problems that stand beside it.

FLEET_UPDATE_GOLDEN=1 writes what is said now; the difference is to be read before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet.core.errors import InventoryError
from fleet.inventory.reading import load_bytes

BAD = sorted((Path(__file__).parent / "bad").glob("*.yml"))


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_with_all_its_problems(file: Path) -> None:
    with pytest.raises(InventoryError) as caught:
        load_bytes(file.read_bytes(), Path("hosts.yml"))
    said = f"{caught.value}\n"
    golden = file.with_suffix(".txt")
    if os.environ.get("FLEET_UPDATE_GOLDEN") == "1":
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")
