"""The simulated pvesh, qm and small commands, in a plain directory that stands for the node's root."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.lab.sim import (
    ha_manager,
    machine,
    paths,
    pve_firewall,
    pvecm,
    pvesh,
    pveversion,
    qm,
    tables,
)

FACTS = {
    "node": "pve",
    "address": "10.10.10.1",
    "pve_version": "9.2.11",
    "repoid": "14a22df35955d97d",
    "kernel": "6.18.44",
    "cpus": 2,
    "memory_bytes": 25276510208,
    "filesystems": {
        "/": {"size": 270553174016, "used": 31605415936},
        "/mnt/btr": {"size": 12884901888, "used": 0, "type": "btrfs"},
    },
}
STORAGE_CFG = (
    "dir: local\n\tpath /var/lib/vz\n\tcontent vztmpl\n\n"
    "btrfs: btr\n\tpath /mnt/btr\n\tcontent rootdir,images\n"
)
CONTAINER = (
    "#after snap\narch: amd64\ncores: 2\ncpulimit: 1\nhostname: src\nmemory: 256\n"
    "net0: name=eth0,bridge=vmbr0,gw=10.10.10.1,hwaddr=BC:24:11:A7:0E:25,ip=10.10.10.101/24,type=veth\n"
    "onboot: 1\nostype: debian\nrootfs: btr:100/vm-100-disk-0.raw,size=2816M\n"
    "swap: 64\ntags: x\nunprivileged: 1\n"
)
INTERFACES = (
    "auto lo\niface lo inet loopback\n\nauto vmbr0\niface vmbr0 inet static\n\taddress 10.10.10.1/24\n"
    "\tbridge-ports none\n\tbridge-stp off\n\tbridge-fd 0\n"
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(paths, "ROOT", str(tmp_path))
    for path, text in (
        ("var/lib/fleet-lab/machine.json", json.dumps(FACTS)),
        ("etc/pve/storage.cfg", STORAGE_CFG),
        ("etc/pve/nodes/pve/lxc/100.conf", CONTAINER),
        ("etc/network/interfaces", INTERFACES),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (tmp_path / "sys/class/net/vmbr0").mkdir(parents=True)
    machine.facts.cache_clear()
    machine.faults.cache_clear()
    yield tmp_path
    machine.facts.cache_clear()
    machine.faults.cache_clear()


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a simulated command in this process: (exit code, stdout, stderr)."""
    mains = {
        "pvesh": pvesh.main,
        "qm": qm.main,
        "pveversion": pveversion.main,
        "pvecm": pvecm.main,
        "ha-manager": ha_manager.main,
        "pve-firewall": pve_firewall.main,
    }

    def call(name: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = mains[name]([name, *words])
        text = capsys.readouterr()
        return code, text.out, text.err

    return call


def get(run: Run, path: str, *words: str) -> object:
    """What `pvesh get` answers in JSON."""
    code, out, err = run("pvesh", "get", path, *words, "--output-format", "json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_pvesh_answers_in_json_with_sorted_keys(run: Run) -> None:
    assert run("pvesh", "get", "/version", "--output-format", "json") == (
        0,
        '{"release":"9.2","repoid":"14a22df35955d97d","version":"9.2.11"}\n',
        "",
    )


def test_a_configuration_has_numbers_where_proxmox_has_them(run: Run) -> None:
    config = get(run, "/nodes/localhost/lxc/100/config")
    assert isinstance(config, dict)
    assert (config["cores"], config["cpulimit"], config["onboot"], config["description"]) == (
        2,
        "1",
        1,
        "after snap\n",
    )
    assert len(config["digest"]) == 40


def test_a_stopped_container_has_no_interfaces_and_no_snapshots_but_current(run: Run) -> None:
    assert get(run, "/nodes/localhost/lxc/100/interfaces") is None
    snapshots = get(run, "/nodes/pve/lxc/100/snapshot")
    assert isinstance(snapshots, list)
    assert [(s["name"], s["running"]) for s in snapshots] == [("current", 0)]


def test_the_network_is_what_the_interfaces_file_says(run: Run) -> None:
    assert get(run, "/nodes/localhost/network") == [
        {
            "active": 1,
            "address": "10.10.10.1",
            "autostart": 1,
            "bridge_fd": "0",
            "bridge_ports": "",
            "bridge_stp": "off",
            "cidr": "10.10.10.1/24",
            "families": ["inet"],
            "iface": "vmbr0",
            "method": "static",
            "method6": "manual",
            "netmask": "24",
            "priority": 3,
            "type": "bridge",
        }
    ]


def test_the_next_id_is_the_lowest_free_one_as_text_in_json(run: Run) -> None:
    assert run("pvesh", "get", "/cluster/nextid")[1] == "101\n"
    assert run("pvesh", "get", "/cluster/nextid", "--output-format", "json")[1] == '"101"\n'
    assert run("pvesh", "get", "/cluster/nextid", "--vmid", "100") == (
        2,
        "",
        (
            "400 Parameter verification failed.\nvmid: VM 100 already exists\n"
            "pvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]\n"
        ),
    )


def test_resources_can_be_narrowed_to_guests(run: Run) -> None:
    resources = get(run, "/cluster/resources")
    assert isinstance(resources, list)
    assert [r["type"] for r in resources] == ["lxc", "node", "storage", "storage", "network"]
    guests = get(run, "/cluster/resources", "--type", "vm")
    assert isinstance(guests, list)
    assert [(g["id"], g["status"], g["maxdisk"]) for g in guests] == [("lxc/100", "stopped", 2816 << 20)]


REFUSALS = [
    (("get", "/nosuch"), 1, "No 'get' handler defined for '/nosuch'\n"),
    (
        ("get", "/nodes/nosuch/lxc"),
        11,
        (
            "hostname lookup 'nosuch' failed - failed to get address info for: nosuch: "
            "Temporary failure in name resolution\n"
        ),
    ),
    (
        ("get", "/nodes/pve/lxc/999/config"),
        2,
        "Configuration file 'nodes/pve/lxc/999.conf' does not exist\n",
    ),
    (
        ("get", "/version", "--bogus", "1"),
        2,
        (
            "Unknown option: bogus\n400 unable to parse option\npvesh get <api_path> [OPTIONS] "
            "[FORMAT_OPTIONS]\n"
        ),
    ),
    (("get",), 2, "400 not enough arguments\npvesh get <api_path> [OPTIONS] [FORMAT_OPTIONS]\n"),
    (
        ("set", "/nodes/localhost/lxc/100/config", "--memory", "x"),
        2,
        (
            "400 Parameter verification failed.\nmemory: type check ('integer') failed - got 'x'\n"
            "pvesh set <api_path> [OPTIONS] [FORMAT_OPTIONS]\n"
        ),
    ),
    (("create", "/nodes/localhost/nosuch"), 1, "No 'create' handler defined for '/nodes/localhost/nosuch'\n"),
]


@pytest.mark.parametrize(("words", "code", "message"), REFUSALS, ids=[" ".join(case[0]) for case in REFUSALS])
def test_pvesh_refuses_as_recorded(run: Run, words: tuple[str, ...], code: int, message: str) -> None:
    assert run("pvesh", *words) == (code, "", message)


def test_pvesh_sets_a_configuration(run: Run, root: Path) -> None:
    assert run("pvesh", "set", "/nodes/localhost/lxc/100/config", "--memory", "260") == (0, "", "")
    assert "memory: 260\n" in (root / "etc/pve/nodes/pve/lxc/100.conf").read_text()


def test_pvesh_ls_shows_what_can_be_done_with_each_child(run: Run) -> None:
    assert run("pvesh", "ls", "/nodes/localhost/lxc") == (0, "Dr--d        100\n", "")


def test_text_is_a_box_with_a_row_for_each_key() -> None:
    assert tables.table([{"key": "a", "value": 1}, {"key": "b", "value": "x\ny"}], ["key", "value"]) == (
        "┌─────┬───────┐\n│ key │ value │\n╞═════╪═══════╡\n│ a   │ 1     │\n├─────┼───────┤\n"
        "│ b   │ x     │\n│     │ y     │\n└─────┴───────┘\n"
    )


def test_a_virtual_machine_is_made_listed_and_removed_as_recorded(run: Run, root: Path) -> None:
    assert run("qm", "list") == (0, "", "")
    code, out, err = run(
        "qm", "create", "200", "--name", "vm200", "--memory", "512", "--net0", "virtio,bridge=vmbr0",
        "--scsi0", "btr:1", "--ostype", "l26",
    )  # fmt: skip
    assert (code, out, err) == (
        0,
        "scsi0: successfully created disk 'btr:200/vm-200-disk-0.raw,size=1G'\n",
        "",
    )
    config = root / "etc/pve/nodes/pve/qemu-server/200.conf"
    assert config.read_text().splitlines()[:2] == ["boot: order=scsi0;net0", "memory: 512"]
    assert run("qm", "list")[1] == (
        "      VMID NAME                 STATUS     MEM(MB)    BOOTDISK(GB) PID       \n"
        "       200 vm200                stopped    512                1.00 0         \n"
    )
    assert run("qm", "set", "200", "--cores", "2", "--onboot", "1")[1] == (
        "update VM 200: -cores 2 -onboot 1\n"
    )
    assert run("qm", "status", "200")[1] == "status: stopped\n"
    assert run("qm", "create", "100") == (
        255,
        "",
        "unable to create VM 100 - CT 100 already exists on node 'pve'\n",
    )
    assert run("qm", "destroy", "200") == (0, "", "")
    assert not config.exists()


def test_snapshots_of_a_virtual_machine_are_taken_shown_and_rolled_back(run: Run, root: Path) -> None:
    run("qm", "create", "200", "--memory", "512", "--scsi0", "btr:1")
    assert run("qm", "snapshot", "200", "s1")[1] == (
        "snapshotting 'drive-scsi0' (btr:200/vm-200-disk-0.raw)\n"
    )
    assert run("qm", "snapshot", "200", "s1") == (255, "", "snapshot name 's1' already used\n")
    shown = run("qm", "listsnapshot", "200")[1].splitlines()
    assert [line[:32].rstrip() for line in shown] == ["`-> s1", " `-> current"]
    assert [line[52:] for line in shown] == ["    no-description", "    You are here!"]
    run("qm", "set", "200", "--memory", "1024")
    assert run("qm", "resize", "200", "scsi0", "+1G") == (0, "Image resized.\n", "")
    assert run("qm", "rollback", "200", "s1") == (0, "", "")
    assert "memory: 512\n" in run("qm", "config", "200")[1]
    assert run("qm", "delsnapshot", "200", "s1") == (0, "", "")
    assert run("qm", "rollback", "200", "s1") == (255, "", "snapshot 's1' does not exist\n")
    assert "[" not in (root / "etc/pve/nodes/pve/qemu-server/200.conf").read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [(("config", "999"), 2), (("status", "999"), 2), (("start", "999"), 255), (("config", "100"), 2)],
)
def test_qm_has_no_configuration_for_what_is_no_virtual_machine(
    run: Run, words: tuple[str, str], code: int
) -> None:
    message = f"Configuration file 'nodes/pve/qemu-server/{words[1]}.conf' does not exist\n"
    assert run("qm", *words) == (code, "", message)


def test_small_commands_answer_as_recorded(run: Run, root: Path) -> None:
    missing = (
        "Error: Corosync config '/etc/pve/corosync.conf' does not exist - is this node part of a cluster?\n"
    )
    assert run("pveversion")[1] == "pve-manager/9.2.11/14a22df35955d97d (running kernel: 6.18.44)\n"
    assert run("pvecm", "status") == (2, "", missing)
    assert run("ha-manager", "status")[1] == "quorum OK\nfencing standby (CRM watchdog standby)\n"
    assert run("pve-firewall", "status")[1] == "Status: disabled/stopped\n"
    assert run("pve-firewall", "compile")[1].endswith(
        "ip6tables table raw cmdlist:\nno changes\nfirewall disabled\n"
    )
    assert (
        run("pve-firewall", "localnet")[1].splitlines()[-1] == "using detected local_network: 10.10.10.0/24"
    )


def test_pveversion_lists_packages_from_the_dpkg_status(run: Run, root: Path) -> None:
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(
        "Package: ifupdown2\nStatus: install ok installed\nVersion: 3.0.0-1.3\n\n"
        "Package: lvm2\nStatus: install ok installed\nVersion: 2.03.31-2\n\n"
        "Package: corosync\nStatus: deinstall ok config-files\nVersion: 3.1\n"
    )
    assert run("pveversion", "--verbose")[1].splitlines() == [
        "ceph-fuse: not correctly installed",
        "corosync: not correctly installed",
        "ifupdown2: 3.0.0-1.3",
        "libspice-server1: not correctly installed",
        "lvm2: 2.03.31-2",
    ]


@pytest.mark.parametrize("name", ["pvesh", "qm", "pvecm", "ha-manager", "pve-firewall"])
def test_an_unknown_verb_fails_with_usage(run: Run, name: str) -> None:
    code, out, err = run(name, "frobnicate")
    assert (code, out) == (255, "")
    assert err.startswith(
        f"ERROR: unknown command '{name} frobnicate'\nUSAGE: {name} <COMMAND> [ARGS] [OPTIONS]\n"
    )
