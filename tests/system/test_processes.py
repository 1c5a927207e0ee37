"""Commands that tests fork and those they start anew: the same to whoever runs them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.forked import Process
from support.nodes import start


@pytest.fixture(params=[False, True], ids=["forked", "fresh"])
def is_fresh(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def node(tmp_path: Path, is_fresh: bool) -> Iterator[Process]:
    """A node that is ready."""
    listen = ("--listen", "/ip4/127.0.0.1/tcp/0", "--gateway", "127.0.0.1:0", "--no-mdns")
    process = start(tmp_path / "home", "serve", "--json", *listen, is_fresh=is_fresh)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["peer_id"]
    yield process
    process.kill()
    process.communicate()


def test_command_when_it_ends_then_its_code_and_all_it_wrote(
    tmp_path: Path, is_fresh: bool
) -> None:
    process = start(tmp_path, "--version", is_fresh=is_fresh)
    output, errors = process.communicate(timeout=60)
    assert (process.wait(), output.split()[0], errors) == (0, "mirrornode", "")
    process = start(tmp_path, "get", "--nonsense", is_fresh=is_fresh)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("error: No such option: --nonsense")


def test_command_when_started_elsewhere_then_that_is_its_folder_and_home(
    tmp_path: Path, is_fresh: bool
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").write_bytes(b"bytes")
    process = start(
        tmp_path / "home", "add", "file", "--json", cwd=tmp_path / "here", is_fresh=is_fresh
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(output)["path"] == str(tmp_path / "here" / "file")
    assert (tmp_path / "home" / "catalog.sqlite").exists()


def test_node_when_signalled_then_it_ends_in_order(node: Process) -> None:
    assert node.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        node.wait(timeout=0)
    node.send_signal(signal.SIGTERM)
    assert node.wait(timeout=60) == 0


def test_node_when_interrupted_then_the_code_says_so(node: Process) -> None:
    node.send_signal(signal.SIGINT)
    assert node.wait(timeout=60) == 130


def test_node_when_killed_then_its_code_is_the_signal(node: Process) -> None:
    node.kill()
    assert node.wait(timeout=60) == -signal.SIGKILL
    node.send_signal(signal.SIGTERM)  # nobody is there any more
    assert node.poll() == -signal.SIGKILL
