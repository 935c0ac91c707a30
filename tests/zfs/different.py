"""Where the lab answers otherwise than real OpenZFS, and why that is left so: (topic, command) -> reason."""

DIFFERENT: dict[tuple[str, str], str] = {
    (
        "full",
        "dd if=/dev/urandom of=/tank/ful/f bs=1M count=20 2>&1 | head -n 1",
    ): "the lab's datasets are directories of the machine: what writes into them meets no quota",
    (
        "full",
        "rm /tank/ful/f; sync; dd if=/dev/urandom of=/tank/ful/g bs=1M count=20 2>&1 | head -n 1",
    ): "the lab's datasets are directories of the machine: what writes into them meets no quota",
    (
        "full",
        "zfs create tank/ful/child",
    ): "the lab does not make the dataset at all where the quota is full; ZFS makes it, but no mountpoint",
    (
        "full",
        "dd if=/dev/urandom of=/tank/ful2/f bs=1M count=20 2>&1 | head -n 1",
    ): "the lab's datasets are directories of the machine: what writes into them meets no quota",
    (
        "properties",
        "touch /tank/pro/f",
    ): "the lab's datasets are directories of the machine: writing into them is not refused",
}
