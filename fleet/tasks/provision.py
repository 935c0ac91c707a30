"""plan, apply, status, provision.*: make the node as hosts.yml says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleet.core.errors import ExitCode, Refused, UsageError
from fleet.tasks.cli import Options, confirm, inventory_path, task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleet.converge import Facts
    from fleet.core.plan import Plan
    from fleet.core.probe import Probe
    from fleet.domains.guests.spec import Container
    from fleet.inventory import Inventory
    from fleet.run import Planner, Run

_SELECTION = ("inventory", "limit", "exclude")
_RUN = ("check", "diff", "commands", "json", "yes", "detailed_exitcode")


@task(
    *_SELECTION,
    *_RUN,
    "jobs",
    "restart",
    help={"out": "save the plan to this file; `inv apply FILE` runs exactly that, or refuses as stale"},
)
def plan(options: Options, out: str = "") -> int:
    """Show what would change on the host; change nothing."""
    from fleet.converge import gather
    from fleet.run import connected

    inventory = _load(options)
    with connected(inventory) as shell:
        made = _planner(inventory, options)(gather(shell, inventory))
    if out:
        from datetime import UTC, datetime

        from fleet.planfile import save

        save(
            Path(out),
            made,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            limit=options.limit,
            exclude=options.exclude,
            restart=options.restart,
        )
    return _shown(made, options)


@task("inventory", *_RUN, "jobs", help={"file": "a plan that `inv plan --out FILE` saved"})
def apply(options: Options, file: str) -> int:
    """Run exactly the steps of a saved plan; refuse if the host or hosts.yml has changed since."""
    from dataclasses import replace

    from fleet.planfile import load

    saved = load(Path(file))
    selection = replace(options, limit=saved.limit, exclude=saved.exclude, restart=saved.restart)
    inventory = _load(options)
    planner = _planner(inventory, selection)
    return _plan_and_execute(
        inventory, f"apply {file}", planner, options, _as_declared(selection), saved=saved.plan
    )


@task(*_SELECTION, *_RUN, "jobs", "restart", name="all")
def all_(options: Options) -> int:
    """Make the host match hosts.yml: storage, then containers; nothing is ever recreated or destroyed."""
    inventory = _load(options)
    planner = _planner(inventory, options)
    return _plan_and_execute(inventory, "provision.all", planner, options, _as_declared(options))


@task(
    "inventory",
    *_RUN,
    "jobs",
    "restart",
    help={"name": "a container of hosts.yml; any selector of --limit will do"},
)
def one(options: Options, name: str) -> int:
    """Make one container, and the storage that it stands on, match hosts.yml."""
    from dataclasses import replace

    inventory = _load(options)
    chosen = replace(options, limit=(name,))
    planner = _planner(inventory, chosen)
    return _plan_and_execute(inventory, f"provision.one {name}", planner, chosen, _as_declared(chosen))


@task(
    "inventory",
    *_RUN,
    help={"name": "a container of hosts.yml that exists on the host"},
)
def adopt(options: Options, name: str) -> int:
    """Let fleet manage a container that exists already: put the tag fleet on it, and change nothing else."""
    from fleet.core.plan import join
    from fleet.domains.guests import plan_adopt

    inventory = _load(options)
    want = _named(inventory, name)

    def planner(facts: Facts) -> Plan:
        return join(facts.guests.node, [plan_adopt(want, facts.guests)])

    reached = f"fleet manages {want.name}; what hosts.yml changes on it: inv plan --limit {want.name}"
    return _plan_and_execute(inventory, f"provision.adopt {name}", planner, options, reached)


@task(
    "inventory",
    *_RUN,
    help={
        "name": "a container of hosts.yml that fleet manages",
        "allow-destroy": "the name once more: the word without which nothing is destroyed",
        "stop": "shut it down first if it is running",
    },
)
def destroy(options: Options, name: str, allow_destroy: str = "", stop: bool = False) -> int:
    """Destroy one container and its volumes; needs --allow-destroy=NAME, refuses foreign ones."""
    from fleet.core.plan import join
    from fleet.domains.guests import plan_destroy, snapshots_probe
    from fleet.host.lock import NODE, TRANSFERS

    inventory = _load(options)
    want = _named(inventory, name)
    if allow_destroy != want.name:
        raise Refused(f"destroying {want.name} and its data needs your word: --allow-destroy={want.name}")

    probe = snapshots_probe(want.vmid)

    def planner(facts: Facts) -> Plan:
        part = plan_destroy(
            want,
            facts.guests,
            stop=stop,
            snapshots=None if facts.more[probe.name].code else facts.more[probe.name].text.split(),
            storages=facts.storage.storages,
        )
        return join(facts.guests.node, [part])

    reached = f"{want.name} is gone; hosts.yml still has it, so provision.all makes it anew"
    what = f"provision.destroy {name}"
    # Half of it would go where one of its volumes is on its way to a replica.
    locks = (NODE, TRANSFERS)
    return _plan_and_execute(inventory, what, planner, options, reached, more=(probe,), locks=locks)


@task(*_SELECTION, "json")
def status(options: Options) -> int:
    """Show every container: declared, running, as hosts.yml says; and how old the backups are."""
    from fleet.backups.health import health, look
    from fleet.converge import make_plan, selected
    from fleet.render.backups import health_data, health_lines
    from fleet.render.status import status_data, status_lines
    from fleet.run import connected

    inventory = _load(options)
    with connected(inventory) as shell:
        seen = look(shell, inventory, there=False)
    facts, backups = seen.reading.facts, health(seen.reading.spec, seen.reading.backups, seen.unread)
    wanted = selected(inventory, facts, options.limit, options.exclude)
    made = make_plan(inventory, facts, limit=options.limit, exclude=options.exclude)
    if options.json:
        _print_json({**status_data(wanted, facts, made), "backups": health_data(backups)})
    else:
        from fleet.render.lines import show

        show(status_lines(wanted, facts, made))
        show(health_lines(backups))
    return ExitCode.DONE


# ── what they share ───────────────────────────────────────────────────────────────────────────────


def _load(options: Options) -> Inventory:
    from fleet.inventory import load

    return load(inventory_path(options))


def _named(inventory: Inventory, name: str) -> Container:
    from difflib import get_close_matches

    by_name = {want.name: want for want in inventory.containers}
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"hosts.yml has no container {name}{hint}")
    return by_name[name]


def _planner(inventory: Inventory, options: Options) -> Planner:
    from fleet.converge import make_plan

    return lambda facts: make_plan(
        inventory, facts, limit=options.limit, exclude=options.exclude, restart=options.restart
    )


def _as_declared(options: Options) -> str:
    """What is so after a run that leaves nothing to do."""
    from fleet.render.run import AS_DECLARED

    return "what was chosen is as hosts.yml says" if options.limit or options.exclude else AS_DECLARED


def _plan_and_execute(
    inventory: Inventory,
    what: str,
    planner: Planner,
    options: Options,
    reached: str,
    *,
    saved: Plan | None = None,
    more: Sequence[Probe] = (),
    locks: Sequence[str] = (),
) -> int:
    """Make the plan, or take the saved one; show it and, unless --check, run it. The exit code.

    `reached`: what is so once all is done. `more`: probes whose answers the planner needs, too.
    `locks`: of the node, where it is not the usual one.
    """
    from fleet.converge import gather
    from fleet.run import connected, refuse_stale

    if not options.check:
        return _execute(inventory, what, planner, options, reached, saved, more, locks)
    with connected(inventory) as shell:
        made = planner(gather(shell, inventory, more))
    if saved is not None:
        refuse_stale(saved, made)
    return _shown(made, options)


def _execute(
    inventory: Inventory,
    what: str,
    planner: Planner,
    options: Options,
    reached: str,
    saved: Plan | None,
    more: Sequence[Probe],
    locks: Sequence[str],
) -> int:
    from fleet.host.lock import NODE
    from fleet.render.lines import counted
    from fleet.run import execute

    def agree(made: Plan) -> None:
        if not options.json:
            _show(made, options, details=options.diff or options.commands)
        if made:
            confirm(f"Run {counted(len(made.steps), 'step')} on {made.node}?", options)

    run = execute(
        inventory,
        what,
        planner,
        jobs=options.jobs,
        agree=agree,
        waits=not options.yes,
        saved=saved,
        more=more,
        locks=locks or (NODE,),
    )
    _show_run(run, options, reached)
    changes = bool(run.plan) or run.left.differs
    if changes and run.exit_code == ExitCode.DONE and options.detailed_exitcode:
        return ExitCode.CHANGES_PENDING
    return run.exit_code


def _shown(made: Plan, options: Options) -> int:
    """Show a plan that is not run; 2 with --detailed-exitcode where the host is not as hosts.yml says."""
    if options.json:
        from fleet.planfile import plan_data

        _print_json(plan_data(made))
    else:
        _show(made, options)
    return ExitCode.CHANGES_PENDING if made.differs and options.detailed_exitcode else ExitCode.DONE


def _show(made: Plan, options: Options, *, details: bool = True) -> None:
    from fleet.render.lines import show
    from fleet.render.plan import plan_lines

    show(plan_lines(made, commands=options.commands, details=details))


def _show_run(run: Run, options: Options, reached: str) -> None:
    from fleet.render.run import run_data, run_lines

    if options.json:
        _print_json(run_data(run.results, run.left, run.seconds, run.exit_code))
    elif run.plan:
        from fleet.render.lines import show

        show(run_lines(run.results, run.left, run.seconds, reached))


def _print_json(data: object) -> None:
    import json

    print(json.dumps(data, indent=2, ensure_ascii=False))
