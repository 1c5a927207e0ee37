"""Models on a stick: exported here, imported there, with real processes in between."""

from __future__ import annotations

import filecmp
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.nodes import COMMAND, Nodes, environment, run, start
from support.waiting import until_sync

MIB = 1 << 20
MakeFile = Callable[[str, int], Path]


def assert_same_folder(left: Path, right: Path) -> None:
    compared = filecmp.dircmp(left, right)
    assert not compared.left_only
    assert not compared.right_only
    assert not compared.diff_files
    for name in compared.common_files:
        assert filecmp.cmp(left / name, right / name, shallow=False)
    for name in compared.common_dirs:
        assert_same_folder(left / name, right / name)


def make_model(make_file: MakeFile) -> Path:
    make_file("model/sub/weights-2.bin", 3 * MIB)
    make_file("model/config.json", 500)
    return make_file("model/weights-1.bin", 9 * MIB + 5).parent


def test_import_when_daemons_on_both_sides_then_third_gets_it_from_the_importer(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_model(make_file)
    here, there = nodes.serve("here"), nodes.serve("there")
    cid = here.run("add", model, "--json").record["cid"]
    # Paths are relative to where the user stands, not to where the daemon does.
    done = run(here.home, "export", cid, "model.car", "--json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.record["size_bytes"] == (tmp_path / "model.car").stat().st_size
    assert run(here.home, "export", cid, "model.car", cwd=tmp_path).code == 2
    here.stop()
    done = run(there.home, "import", "model.car", "--json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    [root] = done.record["roots"]
    assert (root["cid"], root["name"], root["complete"]) == (cid, "model", True)
    assert_same_folder(model, Path(root["path"]))
    assert cid in there.run("ls").stdout
    done = run(
        nodes.home("third"), "get", cid, "-o", tmp_path / "out", "--json", "--no-mdns",
        "--peer", there.address,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert_same_folder(model, tmp_path / "out")


def test_export_when_piped_into_import_then_the_same(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_model(make_file)
    here = nodes.home("here")
    cid = run(here, "add", model, "--json").record["cid"]
    exporting = subprocess.Popen(
        [*COMMAND, "export", cid, "-"],
        env=environment(here),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    home = nodes.home("there")
    importing = subprocess.run(
        [*COMMAND, "import", "-", "-o", str(tmp_path / "out")],
        env=environment(home),
        stdin=exporting.stdout,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert exporting.stdout is not None
    exporting.stdout.close()
    assert (exporting.wait(10), importing.returncode) == (0, 0), importing.stderr
    assert_same_folder(model, tmp_path / "out")
    assert not list((home / "spool").iterdir())


def test_export_when_reader_leaves_then_refused_and_daemon_lives(
    nodes: Nodes, make_file: MakeFile
) -> None:
    model = make_model(make_file)
    here = nodes.serve("here")
    cid = here.run("add", model, "--json").record["cid"]
    exporting = subprocess.Popen(
        [*COMMAND, "export", cid, "-"],
        env=environment(here.home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert exporting.stdout is not None
    exporting.stdout.close()
    _, errors = exporting.communicate(timeout=60)
    assert exporting.returncode == 13
    assert errors.startswith("error: cannot write -: ")
    assert here.run("status", "--json").record["running"] is True


def test_export_when_not_here_or_changed_then_10_and_12(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_model(make_file)
    home = nodes.home("here")
    cid = run(home, "add", model, "--json").record["cid"]
    (model / "config.json").unlink()
    done = run(home, "export", cid, tmp_path / "m.car", "--json")
    assert (done.code, done.record["error"]["kind"]) == (10, "NotAllHere")
    done = run(home, "export", cid, tmp_path / "m.car", "--json", "--partial")
    assert (done.code, done.record["missing"]) == (3, ["config.json"])
    done = run(nodes.home("there"), "import", tmp_path / "m.car", "--json")
    assert (done.code, done.record["roots"][0]["missing"]) == (3, ["config.json"])
    (model / "weights-1.bin").write_bytes(b"else")
    done = run(home, "export", cid, tmp_path / "n.car")
    assert done.code == 12
    assert "weights-1.bin changed" in done.stderr


def test_import_when_killed_under_way_then_the_same_command_goes_on(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", 96 * MIB)
    cid = run(nodes.home("here"), "add", model, "--json").record["cid"]
    assert run(nodes.home("here"), "export", cid, tmp_path / "m.car").code == 0
    home, out = nodes.home("there"), tmp_path / "out"
    importing = start(home, "import", tmp_path / "m.car", "-o", out / "model.bin")
    part = out / "model.bin.part"
    until_sync(lambda: part.exists() or importing.poll() is not None)
    os.kill(importing.pid, signal.SIGKILL)
    importing.communicate()
    done = run(home, "import", tmp_path / "m.car", "-o", out / "model.bin", "--json")
    assert done.code == 0, done.stderr
    assert filecmp.cmp(model, out / "model.bin", shallow=False)
    assert [path.name for path in out.iterdir()] == ["model.bin"]
    assert run(home, "verify", cid).code == 0
