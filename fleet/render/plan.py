"""A plan as text: grouped by guest, both sides of each difference, a symbol and a word for each action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from fleet.core.plan import LEFT_OVER, WAITING, Difference, Impact, Note, Plan, Step, Why
from fleet.render.lines import Line, counted, printable

_SYMBOLS = {"create": "+", "download": "+", "destroy": "-", "start": ">", "shutdown": "<", "restart": "<>"}
_STYLES = {"+": "green", "-": "red bold", ">": "cyan", "<": "yellow", "<>": "yellow", "~": "yellow"}
_NOTE_STYLES = {Why.REFUSED: "red", Why.LOCKED: "red", Why.BY_HAND: "magenta", Why.WARNING: "magenta"}
_SAID_ONCE = frozenset({Why.UNCHANGED, Why.UNMANAGED, Why.NOT_YET})


def plan_lines(plan: Plan, *, commands: bool = False, details: bool = True) -> Iterator[Line]:
    """The whole plan; with `commands` also the exact commands. Without `details` what is new is one line."""
    groups: dict[str, tuple[list[Step], list[Note]]] = {}
    for step in plan.steps:
        groups.setdefault(step.subject, ([], []))[0].append(step)
    for note in plan.notes:
        if note.why not in _SAID_ONCE:
            groups.setdefault(note.subject, ([], []))[1].append(note)
    new = [subject for subject, (steps, _) in groups.items() if not details and _is_new(steps)]
    for subject in new:
        actions = [step.action for step in groups.pop(subject)[0]]
        symbol = _SYMBOLS[actions[0]]
        yield Line(f"{symbol} {subject}: {', '.join(actions)}", _STYLES[symbol])
    if new:
        yield Line("")
    for subject, (steps, notes) in groups.items():
        yield Line(subject, "bold")
        for step in steps:
            yield from _step(step, commands)
        for note in notes:
            yield Line(f"  ! {note.why}: {printable(note.text)}", _NOTE_STYLES.get(note.why, ""))
        yield Line("")
    yield from _said_once(plan.notes)
    yield Line(headline(plan), "bold")


def headline(plan: Plan) -> str:
    """One sentence: how much of what there is to do."""
    counts = Counter(step.action for step in plan.steps)
    what = ", ".join(f"{number} to {action}" for action, number in counts.items()) or "nothing to do"
    left = Counter(note.why for note in plan.notes if note.why in LEFT_OVER | WAITING)
    rest = "".join(
        f"; {counted(number, f'difference {why}', f'differences {why}')}" for why, number in left.items()
    )
    unchanged = sum(note.why is Why.UNCHANGED for note in plan.notes)
    same = f"; {unchanged} unchanged" if unchanged else ""
    return f"{plan.node}: {what}{rest}{same}."


def difference_text(difference: Difference) -> str:
    """`memory: 2048 -> 4096`; a value that is not there is said in words."""
    if difference.was is None:
        return f"{difference.key}: {printable(difference.want or '')}"
    want = printable(difference.want) if difference.want is not None else "(not set)"
    return f"{difference.key}: {printable(difference.was)} -> {want}"


def _is_new(steps: Sequence[Step]) -> bool:
    """True if the first of a subject's steps makes it: what the others change nobody has seen yet."""
    return bool(steps) and steps[0].action in ("create", "download")


def _step(step: Step, commands: bool) -> Iterator[Line]:
    symbol = _SYMBOLS.get(step.action, "~")
    impact = f", {_impact(step)}" if step.impact is not Impact.NONE else ""
    yield Line(f"  {symbol} {step.action}{impact}", _STYLES[symbol])
    for difference in step.because:
        effect = f"  [{difference.impact}: {difference.reason}]" if difference.reason else ""
        yield Line(f"      {difference_text(difference)}{effect}")
    if commands:
        for each in step.do:
            yield Line(f"      $ {printable(each.sh())}", "dim")


def _impact(step: Step) -> str:
    away = f", about {step.downtime:.0f} s of downtime" if step.downtime else ""
    return f"impact {step.impact}{away}"


def _said_once(notes: Iterable[Note]) -> Iterator[Line]:
    """Notes that many subjects share, one line for each text."""
    groups: dict[tuple[Why, str], list[str]] = {}
    for note in notes:
        if note.why in _SAID_ONCE:
            groups.setdefault((note.why, note.text), []).append(note.subject)
    for (why, text), subjects in groups.items():
        if why is Why.NOT_YET:
            yield Line(f"  {text}", "dim")
        else:
            yield Line(f"  = {why}: {text} ({len(subjects)}): {', '.join(subjects)}", "dim")
    if groups:
        yield Line("")
