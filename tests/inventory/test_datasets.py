"""Where datasets are mounted, as hosts.yml alone can say."""

from __future__ import annotations

import pytest

from tests.inventory.small import HEAD, WEB, load_text, problems

DATASETS = """\
    tank/data: {mountpoint: /data}
    tank/data/media: {}
    tank/plain: {}
    tank/off: {mountpoint: none}
    tank/off/there: {}
"""


@pytest.mark.parametrize(
    ("source", "known"),
    [
        ("/data", True),
        ("/data/media/films", True),
        ("/tank/plain", True),
        ("/tank/plain/x", True),
        ("/tank/plainer", False),
        ("/tank/off/there", False),
        ("/tank/data/media", False),  # it is below /data, as its parent is
    ],
)
def test_a_bind_is_in_a_dataset_where_zfs_mounts_it_with_or_without_a_mountpoint_of_its_own(
    source: str, known: bool
) -> None:
    text = HEAD.replace("    tank/data: {mountpoint: /data}\n", DATASETS)
    said = [str(each) for each in load_text(f"{text}{WEB}    mp5: {source},mp=/x\n").warnings]
    assert any("is in no dataset declared here" in each for each in said) is not known


def test_a_dataset_without_a_mountpoint_knows_the_one_that_it_inherits() -> None:
    text = HEAD.replace("    tank/data: {mountpoint: /data}\n", DATASETS)
    assert {each.name: each.directory for each in load_text(text).storage.datasets} == {
        "tank/data": "/data",
        "tank/data/media": "/data/media",
        "tank/plain": "/tank/plain",
        "tank/off": "",
        "tank/off/there": "",
    }


def test_two_datasets_in_one_place_are_refused_where_only_one_says_so() -> None:
    text = HEAD.replace("/data}\n", "/tank/plain}\n    tank/plain: {}\n", 1)
    (said,) = (each for each in problems(f"{text}{WEB}") if "already" in each)
    assert "/tank/plain is the mountpoint of tank/data already" in said
