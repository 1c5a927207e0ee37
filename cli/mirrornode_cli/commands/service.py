"""`mirrornode service`: have systemd run the node, from login or from boot on."""

from __future__ import annotations

import getpass
import os
import pwd
import sys
from pathlib import Path
from typing import Annotated

import typer

from mirrornode.config import Config
from mirrornode.errors import ConfigError, MirrorError, PathRefused
from mirrornode.store.home import make_home
from mirrornode_cli import exit_codes, options
from mirrornode_cli.output import write_json, write_line
from mirrornode_cli.settings import config_from_flags
from mirrornode_cli.systemd import (
    UNIT,
    Systemd,
    find_systemctl,
    keep_environment,
    unit_folder,
)
from mirrornode_cli.systemd_unit import UnitPlan, kept_environment, unit_text

EPILOG = """\b
Examples:
  mirrornode service install --now            # as you, from your login on
  sudo mirrornode service install --system    # from boot on, as the user that called sudo
  mirrornode service install --print          # only show the unit
  mirrornode service status
  mirrornode service uninstall

\b
The unit runs this very installation with this home. All other settings are in the home's
config.toml; proxies, CA files and MIRRORNODE_* of this shell are kept in its service.env."""

app = typer.Typer(epilog=EPILOG, rich_markup_mode=None)

System = Annotated[
    bool,
    typer.Option(
        "--system/--user",
        help="A service of the machine, from boot on (needs root), or of yours (the default).",
        show_default=False,
    ),
]


@app.callback(invoke_without_command=True)
def service(context: typer.Context) -> None:
    """Have systemd run the node."""
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(exit_codes.USAGE)


@app.command()
def install(
    system: System = False,
    as_user: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="USER",
            help="Whom a --system service runs as. Default: the user that called sudo.",
            show_default=False,
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Start it now, too.")] = False,
    only_print: Annotated[
        bool, typer.Option("--print", help="Write the unit on stdout and change nothing.")
    ] = False,
    home: options.Home = None,
) -> None:
    """Write a unit for the node and enable it; may be run again after a change."""
    user = _service_user(as_user) if system else ""
    if as_user is not None and not system:
        raise ConfigError("--as USER goes with --system: a service of yours runs as you")
    config = config_from_flags(_home_of(user, home))
    python = Path(sys.executable)
    text = unit_text(UnitPlan(python, config.home, config.service.drain_s, user))
    if only_print:
        sys.stdout.write(text)
        return
    manager = _manager(system)
    _prepare_home(config, user)
    if note := keep_environment(config.home, kept_environment(os.environ)):
        manager.done.append(note)
    if user:
        _give_to(user, config.home)
    manager.install(text, starts=now)
    for line in manager.done:
        write_line(line)
    for line in _next_steps(manager, config, is_started=now):
        write_line(f"next: {line}")


@app.command()
def uninstall(system: System = False) -> None:
    """Stop the node and remove its unit; the home and all files stay."""
    manager = _manager(system)
    manager.uninstall()
    for line in manager.done:
        write_line(line)
    write_line("the node's home and everything it shares are untouched")


@app.command()
def status(system: System = False, as_json: options.Json = False) -> None:
    """Show whether the unit is there, starts by itself, and runs now.

    Exit code 1 when it does not run.
    """
    state = _manager(system).state()
    if as_json:
        write_json(state)
    else:
        for name, word in state.items():
            write_line(f"{name:<10} {word}")
    if state["active"] != "active":
        raise typer.Exit(exit_codes.LOCAL)


def _manager(system: bool) -> Systemd:
    if sys.platform == "darwin":
        raise MirrorError(
            "there is no systemd on macOS; start the node at login with a line for `crontab -e`: "
            f"@reboot {sys.executable} -m mirrornode_cli serve"
        )
    run = find_systemctl(is_user=not system)
    if system and os.geteuid() != 0:
        raise PathRefused(
            unit_folder(is_user=False) / UNIT,
            "write",
            f"a service of the machine needs root; run `sudo {sys.executable} -m mirrornode_cli "
            "service ... --system`, or leave out --system for a service of yours",
        )
    return Systemd(unit_folder(is_user=not system), run, is_user=not system)


def _service_user(named: str | None) -> str:
    """Return whom a service of the machine runs as; never root unless it was named."""
    user = named or os.environ.get("SUDO_USER") or getpass.getuser()
    if user == "root" and named is None:
        raise ConfigError(
            "a node needs no root; name a user with --as USER. To make one: useradd --system "
            "--create-home --home-dir /var/lib/mirrornode mirrornode"
        )
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"--as {user}: there is no such user on this machine") from None
    return user


def _home_of(user: str, home: Path | None) -> Path | None:
    """Return the home: the named one, else where that user's own node has it."""
    if home is not None or not user or "MIRRORNODE_HOME" in os.environ:
        return home
    return Path(pwd.getpwnam(user).pw_dir) / ".local" / "share" / "mirrornode"


def _prepare_home(config: Config, user: str) -> None:
    """Make the home, so that a unit does not fail for want of it."""
    missing = [path for path in (config.home, *config.home.parents) if not path.exists()]
    make_home(config.home)
    for path in missing if user else ():
        _give_to(user, path, recursive=False)


def _give_to(user: str, path: Path, *, recursive: bool = True) -> None:
    """Let root's files in a home belong to the user whose service reads them."""
    entry = pwd.getpwnam(user)
    try:
        for each in (path, *(path.glob("service.env") if recursive else ())):
            if each.lstat().st_uid == 0 and not each.is_symlink():
                os.chown(each, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except OSError as exc:
        raise PathRefused(path, "give away", exc.strerror or str(exc)) from exc


def _next_steps(manager: Systemd, config: Config, *, is_started: bool) -> list[str]:
    steps = [] if is_started else [f"{manager.command} start {UNIT}"]
    journal = "journalctl --user -u" if manager.is_user else "journalctl -u"
    steps.append(f"{journal} {UNIT} -n 20    # its READY line, and what it warns of")
    steps.append(f"mirrornode doctor --home {config.home}    # what could be better")
    if manager.is_user:
        steps.append(
            f"sudo loginctl enable-linger {getpass.getuser()}    # to run without your login, too"
        )
    return steps
