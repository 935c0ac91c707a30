"""Figures and warnings that are counted, not typed."""

from __future__ import annotations

from fleet.inventory.figures import figures, gib
from tests.inventory.small import HEAD, WEB, load_text


def test_a_homelab_without_figures_has_a_line_all_the_same() -> None:
    assert str(figures(load_text(HEAD + WEB))) == "1 container; 1 to be running, 0 stopped; 0.5 GiB memory"


def test_a_guest_without_memory_counts_with_proxmoxs_default() -> None:
    assert figures(load_text(HEAD + WEB)).memory == 512 * 1024**2


def test_memory_overcommit_is_a_warning_and_no_error() -> None:
    text = HEAD.replace("address: lab", "address: lab, memory: 1G") + WEB + "    memory: 2048\n"
    (warning,) = load_text(text).warnings
    assert str(warning).startswith("hosts.yml:1 node.memory: warning: ")
    assert warning.text == "the guests that are to be running have 2 GiB of memory, the node 1 GiB"


def test_a_stopped_guest_needs_no_memory() -> None:
    text = (
        HEAD.replace("address: lab", "address: lab, memory: 1G") + WEB + "    memory: 2048\n    started: no\n"
    )
    assert load_text(text).warnings == ()


def test_sizes_are_said_as_people_say_them() -> None:
    assert [gib(size * 1024**2) for size in (512, 31488, 10240)] == ["0.5 GiB", "30.75 GiB", "10 GiB"]
