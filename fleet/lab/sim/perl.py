"""What Perl itself says before a simulated Perl command begins: that it does not know the caller's locale."""

from __future__ import annotations

import os
import sys

_KNOWN = ("", "C", "POSIX", "C.UTF-8", "C.utf8", "en_US.UTF-8", "en_US.utf8")


def warn_of_locale() -> None:
    """Perl's warning on stderr.

    Where a locale variable (sshd takes them over from the client) names one that is not there.
    """
    given = {
        key: value
        for key, value in os.environ.items()
        if key in ("LANG", "LANGUAGE") or key.startswith("LC_")
    }
    if all(value in _KNOWN for key, value in given.items() if key != "LANGUAGE"):
        return
    shown = ["LANGUAGE", "LC_ALL", *sorted(key for key in given if key.startswith("LC_") and key != "LC_ALL")]
    lines = [f"\t{key} = " + (f'"{given[key]}"' if key in given else "(unset)") + "," for key in shown]
    if "LANG" in given:
        lines.append(f'\tLANG = "{given["LANG"]}"')
    sys.stderr.write(
        "perl: warning: Setting locale failed.\nperl: warning: Please check that your locale settings:\n"
        + "\n".join(lines)
        + "\n    are supported and installed on your system.\n"
        + 'perl: warning: Falling back to the standard locale ("C").\n'
    )
