"""How `zfs` is called: usage texts, options and operands, and what it says of a wrong call (exit 2)."""

from __future__ import annotations

from .zfs_props import PROPS
from .zfs_tree import ZfsError

_USAGE = {
    "clone": "\tclone [-p] [-o property=value] ... <snapshot> <filesystem|volume>\n",
    "create": (
        "\tcreate [-Pnpuv] [-o property=value] ... <filesystem>\n"
        "\tcreate [-Pnpsv] [-b blocksize] [-o property=value] ... -V <size> <volume>\n"
    ),
    "destroy": (
        "\tdestroy [-fnpRrv] <filesystem|volume>\n"
        "\tdestroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]\n"
        "\tdestroy <filesystem|volume>#<bookmark>\n"
    ),
    "inherit": "\tinherit [-rS] <property> <filesystem|volume|snapshot> ...\n",
    "promote": "\tpromote <clone-filesystem>\n",
    "rename": (
        "\trename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>\n"
        "\trename -p [-f] <filesystem|volume> <filesystem|volume>\n"
        "\trename -u [-f] <filesystem> <filesystem>\n"
        "\trename -r <snapshot> <snapshot>\n"
    ),
    "diff": "\tdiff [-FHth] <snapshot> [snapshot|filesystem]\n",
    "bookmark": "\tbookmark <snapshot|bookmark> <newbookmark>\n",
    "list": (
        "\tlist [-Hp] [-j [--json-int]] [-r|-d max] [-o property[,...]] [-s property]...\n"
        "\t    [-S property]... [-t type[,...]] [filesystem|volume|snapshot] ...\n"
    ),
    "set": "\tset [-u] <property=value> ... <filesystem|volume|snapshot> ...\n",
    "get": (
        '\tget [-rHp] [-j [--json-int]] [-d max] [-o "all" | field[,...]]\n'
        "\t    [-t type[,...]] [-s source[,...]]\n"
        '\t    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...\n'
    ),
    "mount": "\tmount [-j]\n\tmount [-flvO] [-o opts] <-a|-R filesystem|filesystem>\n",
    "unmount": "\tunmount [-fu] <-a | filesystem|mountpoint>\n",
    "rollback": "\trollback [-rRf] <snapshot>\n",
    "snapshot": "\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...\n",
    "send": (
        "\tsend [-DLPbcehnpsVvw] [-i|-I snapshot]\n"
        "\t     [-R [-X dataset[,dataset]...]]     <snapshot>\n"
        "\tsend [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>\n"
        "\tsend [-DnPpVvLec] [-i bookmark|snapshot] --redact <bookmark> <snapshot>\n"
        "\tsend [-nVvPe] -t <receive_resume_token>\n"
        "\tsend [-PnVv] --saved filesystem\n"
    ),
    "receive": (
        "\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...\n"
        "\t    <filesystem|volume|snapshot>\n"
        "\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ... \n"
        "\t    [-d | -e] <filesystem>\n"
        "\treceive -A <filesystem|volume>\n"
    ),
    "hold": "\thold [-r] <tag> <snapshot> ...\n",
    "holds": "\tholds [-rHp] <snapshot> ...\n",
    "release": "\trelease [-r] <tag> <snapshot> ...\n",
    "version": "\tversion [-j]\n",
}


# What the list of properties says otherwise than the table, or besides it.
_VALUES = {
    "recordsize": "512 to 1M, power of 2",
    "volblocksize": "512 to 128k, power of 2",
    "special_small_blocks": "zero or 512 to 1M, power of 2",
}
_ONLY_NAMED = (
    ("encryptionroot", "r", "<filesystem | volume>"),
    ("keystatus", "r", "none | unavailable | available"),
    ("redact_snaps", "r", "<snapshot>[,...]"),
    ("snapshots_changed", "r", "<date>"),
    ("volthreading", "d", "on | off"),
)
_NOT_INHERITED = ("keyformat", "pbkdf2iters")
_OF_OWNERS = (
    *(f"{who}{what}@..." for what in ("used", "objused") for who in ("user", "group", "project")),
    *(f"{who}{what}@..." for what in ("quota", "objquota") for who in ("user", "group", "project")),
    "written@<snap>",
    "written#<bookmark>",
)
_AFTER_THE_LIST = (
    "",
    "Sizes are specified in bytes with standard units such as K, M, G, etc.",
    "",
    "User-defined properties can be specified by using a name containing a colon (:).",
    "",
    "The {user|group|project}[obj]{used|quota}@ properties must be appended with",
    "a user|group|project specifier of one of these forms:",
    '    POSIX name      (eg: "matt")',
    '    POSIX id        (eg: "126829")',
    '    SMB name@domain (eg: "matt@sun")',
    '    SMB SID         (eg: "S-1-234-567-89")',
    "",
)


class UsageError(ZfsError):
    """A wrong call: the message and the verb's usage on stderr, exit 2."""

    def __init__(self, verb: str, *lines: str) -> None:
        super().__init__(*lines, usage(verb).rstrip("\n"), code=2)


def usage(verb: str) -> str:
    """The usage text of a verb, of all of zfs for an empty one."""
    if not verb:
        return (
            "usage: zfs command args ...\nwhere 'command' is one of the following:\n\n"
            + "".join(["\tversion [-j]\n\n", *(text for name, text in _USAGE.items() if name != "version")])
            + "\nEach dataset is of the form: pool/[dataset/]*dataset[@name]\n"
            + _more_help()
        )
    text = f"usage:\n{_USAGE[verb]}"
    return text + (_property_list() if verb in ("set", "get", "inherit", "list") else _more_help())


def _more_help() -> str:
    return (
        "\nFor the property list, run: zfs set|get\n"
        "\nFor the delegated permission list, run: zfs allow|unallow\n"
        "\nFor further help on a command or topic, run: zfs help [<topic>]\n"
    )


def _property_list() -> str:
    lines = [
        "",
        "The following properties are supported:",
        "",
        f"\t{'PROPERTY':<21} EDIT  INHERIT   VALUES",
        "",
    ]
    shown = [(p.name, p.how, _VALUES.get(p.name, p.values)) for p in PROPS.values()]
    for name, how, values in sorted([*shown, *_ONLY_NAMED], key=lambda row: (row[1] != "r", row[0])):
        edit = "YES" if how in "id" else " NO"
        inherited = how == "i" or (how == "o" and name not in _NOT_INHERITED)
        lines.append(f"\t{name:<22} {edit}      {'YES' if inherited else ' NO'}   {values}")
    for name in _OF_OWNERS:
        limit = "quota" in name
        edit, values = ("YES", "<size> | none") if limit else (" NO", "<size>")
        lines.append(f"\t{name:<22} {edit}       NO   {values}")
    return "\n".join([*lines, *_AFTER_THE_LIST])


def options(
    verb: str, args: list[str], spec: str, longs: dict[str, str] | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """([(letter, value)], operands) by glibc's getopt, which takes options anywhere; `spec` as for getopt.

    `longs` are the letters of long options.
    """
    import getopt

    wants_value = {c for i, c in enumerate(spec) if spec[i + 1 : i + 2] == ":"}
    names = {name + ("=" if letter in wants_value else ""): letter for name, letter in (longs or {}).items()}
    try:
        found, rest = getopt.gnu_getopt(args, spec, list(names))
    except getopt.GetoptError as error:
        if error.opt and error.opt[0] in wants_value:
            what = (
                "missing size argument" if verb == "create" else f"missing argument for '{error.opt}' option"
            )
            raise UsageError(verb, what) from None
        if longs and len(error.opt) > 1:
            raise UsageError(verb, f"invalid option '--{error.opt}'") from None
        raise UsageError(verb, f"invalid option '{error.opt[:1] or '-'}'") from None
    return [((longs or {}).get(option[2:], option[1:]), value) for option, value in found], rest


def one_operand(verb: str, rest: list[str], what: str) -> str:
    """The only operand, or a usage error."""
    if not rest:
        raise UsageError(verb, f"missing {what} argument")
    if len(rest) > 1:
        raise UsageError(verb, "too many arguments")
    return rest[0]


def properties(pairs: list[str]) -> dict[str, str]:
    """{name: value} of property=value words."""
    result: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ZfsError("missing '=' for property=value argument")
        if name in result:
            raise ZfsError(f"property '{name}' specified multiple times")
        result[name] = value
    return result
