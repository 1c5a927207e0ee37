"""Rivals that run as a daemon of their own: how they are started and how they are asked."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.measure import Command
from bench.network import Room
from bench.programs import RIVAL_PROGRAMS, rival_environment
from bench.scene import Scene
from bench.servers import Server

TESTS = RIVAL_PROGRAMS.parents[1]


def script(
    scene: Scene,
    python: Path | str,
    module: str,
    *words: str | Path,
    room: Room | None = None,
) -> Server:
    """Start a module of `rival_programs` with a rival's interpreter and wait until it is ready."""
    return Server(
        [python, "-m", f"bench.rival_programs.{module}", *words],
        scene.path(module).with_suffix(".log"),
        room=room,
        env=environment(scene) | {"PYTHONPATH": str(TESTS)},
        cwd=scene.scratch,  # Kubo writes a log where it stands
    )


def ask(socket: Path, *words: str | Path) -> Command:
    """Return the command that asks a resident program and waits until it is done."""
    return Command([sys.executable, "-I", "-S", RIVAL_PROGRAMS / "ask.py", socket, *words])


def environment(scene: Scene) -> dict[str, str]:
    """Return an environment without the user's settings."""
    return rival_environment(scene.place("rival-home"))
