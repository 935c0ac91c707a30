"""`ssh` to another node of the lab: OpenSSH's command line, and its words where it gets nowhere.

Keys and host keys count as set up. The daemon of the lab runs the command in the other one (peers.py of it).
"""

from __future__ import annotations

import getopt
import json
import os
import socket
import struct
import sys
import threading

from . import paths

_FLAGS = "1246AaCfGgKkMNnqsTtVvXxYy"
_VALUES = "BbcDEeFIiJLlmOoPpQRSWw"
_NOT_SIMULATED = "DfGJLMNOQRSWws"  # forwarding, multiplexing, background
_SETTINGS = frozenset(
    """addkeystoagent addressfamily batchmode bindaddress bindinterface canonicaldomains
    canonicalizehostname casignaturealgorithms certificatefile challengeresponseauthentication
    checkhostip ciphers clearallforwardings compression connectionattempts connecttimeout controlmaster
    controlpath controlpersist enableescapecommandline escapechar exitonforwardfailure fingerprinthash
    forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports
    globalknownhostsfile gssapiauthentication gssapidelegatecredentials hashknownhosts
    hostbasedauthentication hostkeyalgorithms hostkeyalias hostname identitiesonly identityagent
    identityfile include ipqos kbdinteractiveauthentication kexalgorithms knownhostscommand localcommand
    loglevel logverbose macs nohostauthenticationforlocalhost numberofpasswordprompts
    passwordauthentication permitlocalcommand port preferredauthentications pubkeyacceptedalgorithms
    pubkeyauthentication rekeylimit requesttty requiredrsasize sendenv serveralivecountmax
    serveraliveinterval sessiontype setenv stdinnull stricthostkeychecking syslogfacility tcpkeepalive
    updatehostkeys user userknownhostsfile verifyhostkeydns visualhostkey""".split()
)
_USAGE = """\
usage: ssh [-46AaCfGgKkMNnqsTtVvXxYy] [-B bind_interface] [-b bind_address]
           [-c cipher_spec] [-D [bind_address:]port] [-E log_file]
           [-e escape_char] [-F configfile] [-I pkcs11] [-i identity_file]
           [-J destination] [-L address] [-l login_name] [-m mac_spec]
           [-O ctl_cmd] [-o option] [-P tag] [-p port] [-R address]
           [-S ctl_path] [-W host:port] [-w local_tun[:remote_tun]]
           destination [command [argument ...]]
       ssh [-Q query_option]
"""
_HEAD = struct.Struct(">cI")
_PIECE = 1 << 16


class _Wrong(Exception):
    """A wrong call; the text is for stderr."""


def main(argv: list[str]) -> int:
    """The command `ssh`."""
    try:
        given, destination, words = _commandline(argv[1:])
    except _Wrong as error:
        sys.stderr.write(str(error))
        return 255
    if "V" in given:
        sys.stderr.write("OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.4 30 Sep 2025\n")
        return 0
    user, at, host = destination.removeprefix("ssh://").rpartition("@")
    asked = {
        "host": host.partition(":")[0] if destination.startswith("ssh://") else host,
        "user": user if at else given.get("l") or _setting(given, "user") or "root",
        "command": " ".join(words) or None,
    }
    return _talk(asked, silent="n" in given)


def _commandline(args: list[str]) -> tuple[dict[str, str], str, list[str]]:
    """({option: value}, destination, command): options may stand on both sides of the destination."""
    spec = _FLAGS + "".join(f"{letter}:" for letter in _VALUES)
    given: dict[str, str] = {}
    destination = ""
    while True:
        try:
            found, args = getopt.getopt(args, spec)
        except getopt.GetoptError as error:
            why = "option requires an argument" if error.opt[:1] in _VALUES else "unknown option"
            raise _Wrong(f"{why} -- {error.opt[:1] or '-'}\n{_USAGE}") from None
        for option, value in found:
            _check(option[1:], value)
            given[option[1:]] = f"{given.get('o', '')}{value}\n" if option == "-o" else value
        if destination or not args:
            break
        destination, args = args[0], args[1:]
        if not args or not args[0].startswith("-"):
            break
    if not destination and "V" not in given:
        raise _Wrong(_USAGE)
    return given, destination, args


def _check(letter: str, value: str) -> None:
    """Refuse settings that OpenSSH does not know, and options that the lab does not simulate."""
    if letter == "o":
        key = value.replace("=", " ", 1).split(None, 1)
        if not key or key[0].lower() not in _SETTINGS:
            raise _Wrong(
                f"command-line: line 0: Bad configuration option: {key[0].lower() if key else ''}\r\n"
            )
        if len(key) < 2:
            raise _Wrong(f'command-line line 0: no argument after keyword "{key[0].lower()}"\r\n')
    elif letter in _NOT_SIMULATED:
        raise _Wrong(f"this lab does not simulate `ssh -{letter}`\n")
    elif letter == "p" and not (value.isdigit() and 0 < int(value) < 65536):
        raise _Wrong(f"Bad port '{value}'\r\n")


def _setting(given: dict[str, str], name: str) -> str | None:
    """The value of a setting of -o; the first one counts."""
    for line in given.get("o", "").splitlines():
        key, value = line.replace("=", " ", 1).split(None, 1)
        if key.lower() == name:
            return value
    return None


def _talk(asked: dict[str, str | None], silent: bool) -> int:
    """Run the command through the daemon; the exit code."""
    directory = os.open(paths.real("/run/fleet-lab"), os.O_PATH)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(f"/proc/self/fd/{directory}/peers.sock")
    finally:
        os.close(directory)
    link.sendall(json.dumps(asked).encode() + b"\n")
    threading.Thread(target=_feed, args=(link, silent), daemon=True).start()
    incoming = link.makefile("rb")
    while head := incoming.read(_HEAD.size):
        letter, length = _HEAD.unpack(head)
        data = incoming.read(length)
        if letter == b"X":
            return _leave(data[0])
        if letter == b"F":
            sys.stderr.write(data.decode())
            return _leave(255)
        _write(1 if letter == b"O" else 2, data)
    sys.stderr.write(f"Connection to {asked['host']} closed by remote host.\r\n")
    return _leave(255)


def _leave(code: int) -> int:
    """End at once: the thread that reads the input may never be done."""
    sys.stderr.flush()
    os._exit(code)


def _feed(link: socket.socket, silent: bool) -> None:
    """Send what comes in."""
    try:
        while not silent and (data := os.read(0, _PIECE)):
            link.sendall(_HEAD.pack(b"I", len(data)) + data)
        link.sendall(_HEAD.pack(b"I", 0))
    except OSError:
        return  # the other end has gone; what it said is read by the main thread


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        _leave(255)
