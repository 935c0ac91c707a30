"""The command line of a Proxmox tool.

Verbs, Getopt-like options, checks of parameters, and how failures are printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from . import helptext, perl, schema
from .errors import Die, ParamError, UsageError
from .helptext import Option, Verb
from .props import boolean, fault


class Arguments:
    """What the user gave: values by name (booleans are 0 or 1), and the words of `<extra-args>`."""

    def __init__(self, values: dict[str, str], extra: list[str]) -> None:
        self.values, self.extra = values, extra

    def take(self, name: str) -> str | None:
        """The value of an option, which is then gone from `values`."""
        return self.values.pop(name, None)

    def flag(self, name: str) -> bool:
        """Whether a boolean option is on; it is then gone from `values`."""
        return self.take(name) == "1"

    def vmid(self) -> int:
        """The VMID, which is then gone from `values`."""
        return int(self.values.pop("vmid"))


Handler = Callable[[Arguments], int]


def decode(word: str) -> str:
    """An argument as Perl decodes it by locale: what the locale cannot hold becomes U+FFFD."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "C"
    charset = "utf-8" if "utf" in locale.lower() else "ascii"
    return os.fsencode(word).decode(charset, "replace")


def parse(verb: Verb, words: list[str]) -> Arguments:
    """The arguments of a verb, checked; UsageError or ParamError where Proxmox refuses them."""
    positional, given = _getopt(verb, words)
    result = _assign(verb, positional, given)
    errors: dict[str, str] = {}
    for name in sorted(result.values):
        option = _declared(verb, name)
        if option is None:
            continue
        reason = fault(option.prop, result.values[name])
        if reason is not None:
            errors[name] = reason
        elif (
            option.requires in verb.options and option.requires not in result.values
        ):  # else it is given by the verb
            errors[option.requires] = f"missing property - '{name}' requires this property"
    for name in _required_options(verb):
        if name not in result.values:
            errors[name] = "property is missing and it is not optional"
    if errors:
        raise ParamError(errors)
    return result


def _required_options(verb: Verb) -> list[str]:
    words = verb.usage.split()
    return [word[2:] for word in words if word.startswith("--")]


def _declared(verb: Verb, name: str) -> Option | None:
    if name in verb.options and not verb.options[name].indexed:
        return verb.options[name]
    indexed = schema.index_of(name)
    if indexed is None or indexed[0] not in verb.options or not verb.options[indexed[0]].indexed:
        return None
    option = verb.options[indexed[0]]
    return Option(name, schema.known(name) or option.prop, False, option.requires)


def _getopt(verb: Verb, words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The positional words and the values of each option, as Getopt::Long finds them (options anywhere.

    Abbreviated if unique).
    """
    positional: list[str] = []
    given: dict[str, list[str]] = {}
    failed = False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            positional += rest
            break
        name = word[2:] if word.startswith("--") else word[1:] if word.startswith("-") else ""
        if not name:
            positional.append(word)
            continue
        name, sign, value = name.partition("=")
        found = _find_option(verb, name)
        if found is None:
            failed = True
            continue
        optional = found.prop.type == "boolean" or found.name == "password"
        if sign:
            if not value and not optional:
                print(f"Option {name} requires an argument", file=sys.stderr)
                failed = True
                continue
        elif optional:
            value = rest.pop(0) if rest and (not rest[0].startswith("-") or rest[0] == "-") else ""
        elif rest:
            value = rest.pop(0)
        else:
            print(f"Option {name} requires an argument", file=sys.stderr)
            failed = True
            continue
        given.setdefault(found.name, []).append(value)
    if failed:
        raise UsageError("unable to parse option")
    return positional, given


def _find_option(verb: Verb, name: str) -> Option | None:
    """The option of this name or unique abbreviation; None when that has been complained about."""
    low = name.lower()
    by_name = {option.lower(): option for option in verb.options}
    exact = _declared(verb, by_name.get(low, low))
    if exact is not None:
        return exact
    hits = [
        option.name
        for option in verb.options.values()
        if not option.indexed and option.name.lower().startswith(low)
    ]
    for option in verb.options.values():
        if option.indexed:
            hits += [
                key
                for i in range(schema.INDEXED[option.name])
                if (key := f"{option.name}{i}").startswith(low)
            ]
    if len(hits) == 1:
        return _declared(verb, hits[0])
    if hits:
        print(f"Option {name} is ambiguous ({', '.join(sorted(hits))})", file=sys.stderr)
    else:
        print(f"Unknown option: {name}", file=sys.stderr)
    return None


def _assign(verb: Verb, positional: list[str], given: dict[str, list[str]]) -> Arguments:
    """The words put in their places; lists joined, booleans read."""
    values: dict[str, str] = {}
    for name, found in given.items():
        option = _declared(verb, name)
        is_list = name in schema.LIST_OPTIONS and option is not None and option.prop.type != "boolean"
        values[name] = decode(",".join(found) if is_list else found[-1])
    result = Arguments(values, [])
    words = list(positional)
    for name, optional in verb.arguments:
        if name == "extra-args":
            result.extra, words = words, []
        elif words:
            values[name] = decode(words.pop(0))
        elif not optional and name not in values:
            raise UsageError("not enough arguments")
    if words:
        raise UsageError("too many arguments")
    for name, value in list(values.items()):
        option = _declared(verb, name)
        if option is not None and option.prop.type == "boolean":
            read = "1" if value == "" else boolean(value)
            if read is None:
                raise UsageError("unable to parse boolean option")
            values[name] = read
    return result


def _resolve(tool: str, word: str, aliases: dict[str, str]) -> str | None:
    names = helptext.verbs(tool)
    if word in aliases:
        return aliases[word]
    if word in names:
        return word
    hits = [name for name in names if name.startswith(word)]
    return hits[0] if len(hits) == 1 else None


def run(tool: str, handlers: dict[str, Handler], aliases: dict[str, str], words: list[str]) -> int:
    """Run the verb that the words ask for; the exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    perl.warn_of_locale()
    if not words or (name := _resolve(tool, words[0], aliases)) is None:
        reason = f"unknown command '{tool} {words[0]}'" if words else "no command specified"
        sys.stderr.write(f"ERROR: {reason}\n{helptext.short_usage(tool)}")
        return 255
    verb = helptext.verb(tool, name)
    try:
        return _finish(handlers[name](parse(verb, words[1:])))
    except Die as error:
        _flush()
        sys.stderr.write(error.message if error.message.endswith("\n") else error.message + "\n")
        if isinstance(error, ParamError | UsageError):
            sys.stderr.write(verb.usage + "\n")
        return error.code
    except BrokenPipeError:
        _silence()
        return 141


def _finish(code: int) -> int:
    sys.stdout.flush()
    return code


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()


def _silence() -> None:
    """Point a vanished stdout at /dev/null, so that closing it does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def print_help(tool: str, arguments: Arguments) -> int:
    """`pct help [VERB]`."""
    verbose = arguments.take("verbose")
    if not arguments.extra:
        sys.stdout.write(helptext.short_usage(tool) if verbose == "0" else helptext.full_help(tool))
        return 0
    name = _resolve(tool, arguments.extra[0], {})
    if name is None:
        sys.stderr.write(
            f"ERROR: unknown command '{tool} {arguments.extra[0]}'\n{helptext.short_usage(tool)}"
        )
        return 255
    sys.stdout.write(helptext.verb(tool, name).help + "\n")
    return 0
