"""The main job with real processes: add here, get there, whatever happens in between."""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from support.http_files import file_server
from support.nodes import Nodes, RunningNode, run, start

MIB = 1 << 20
MakeFile = Callable[[str, int], Path]


def add(node: RunningNode, path: Path, *options: str) -> str:
    done = node.run("add", path, "--json", *options)
    assert done.code == 0, done.stderr
    return str(done.record["cid"])


def assert_same(left: Path, right: Path) -> None:
    assert filecmp.cmp(left, right, shallow=False), f"{left} and {right} differ"


def test_get_when_only_bootstrap_known_then_found_by_dht(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    boot = nodes.serve("boot")
    seed = nodes.serve("seed", bootstrap=[boot.address])
    taker = nodes.serve("taker", bootstrap=[boot.address])
    model = make_file("model.safetensors", 20 * MIB + 17)
    cid = add(seed, model)
    done = taker.run("get", cid, "-o", tmp_path / "out.bin", "--json", "--timeout", "40")
    assert done.code == 0, done.stderr
    assert_same(model, tmp_path / "out.bin")
    assert list(done.record["bytes_by_source"]) == [f"peer:{seed.ready['peer_id']}"]
    assert done.record["verified"] is True
    # And the taker serves it now, with the seed gone.
    seed.stop()
    again = run(
        nodes.home("third"), "get", cid, "-o", tmp_path / "third.bin", "--json", "--no-mdns",
        "--bootstrap", boot.address, "--timeout", "40",
    )  # fmt: skip
    assert again.code == 0, again.stderr
    assert_same(model, tmp_path / "third.bin")
    assert f"peer:{taker.ready['peer_id']}" in again.record["bytes_by_source"]


def test_get_folder_when_no_daemon_then_whole_tree(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed = nodes.serve("seed")
    for number in range(40):
        make_file(f"model/part-{number:02}.json", 1000 + number)
    make_file("model/deep/er/weights.bin", 5 * MIB + 1)
    make_file("model/empty.txt", 0)
    os.symlink("part-00.json", tmp_path / "model" / "latest.json")
    cid = add(seed, tmp_path / "model")
    done = run(
        nodes.home("taker"), "get", cid, "-o", tmp_path / "out", "--json", "--no-mdns",
        "--peer", seed.address,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    compared = filecmp.dircmp(tmp_path / "model", tmp_path / "out")
    assert not compared.left_only
    assert not compared.right_only
    assert not compared.diff_files
    assert_same(tmp_path / "model/deep/er/weights.bin", tmp_path / "out/deep/er/weights.bin")
    assert os.readlink(tmp_path / "out/latest.json") == "part-00.json"
    assert done.record["files"] == 42


def test_get_when_seed_killed_and_another_lies_then_right_file_and_liar_named(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", 48 * MIB)
    seeds = []
    for name in ("one", "two", "liar"):
        copy = tmp_path / f"{name}.bin"
        shutil.copy(model, copy)
        seeds.append(nodes.serve(name))
        cid = add(seeds[-1], copy)
    damaged = tmp_path / "liar.bin"
    before = damaged.stat()
    with damaged.open("r+b") as file:
        for leaf in range(48):
            file.seek(leaf * MIB + 5)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0xFF]))
    os.utime(damaged, ns=(before.st_atime_ns, before.st_mtime_ns))
    peers = [option for seed in seeds for option in ("--peer", seed.address)]
    taker = start(
        nodes.home("taker"), "get", cid, "-o", tmp_path / "out.bin", "--json", "--no-mdns", *peers
    )
    seeds[0].kill()
    output, errors = taker.communicate(timeout=90)
    assert taker.returncode == 0, errors
    assert_same(model, tmp_path / "out.bin")
    assert f"peer:{seeds[2].ready['peer_id']}" in output


def test_get_when_killed_again_and_again_then_resumes_to_right_file(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", 96 * MIB)
    seed = nodes.serve("seed")
    cid = add(seed, model)
    output, part = tmp_path / "out.bin", tmp_path / "out.bin.part"
    arguments = ("get", cid, "-o", output, "--json", "--no-mdns", "--peer", seed.address)
    rng = random.Random(7)
    for _ in range(4):
        taker = start(nodes.home("taker"), *arguments)
        target = rng.randrange(1, 40) * MIB
        # Killed when so many bytes lie on disk, not after some time.
        while taker.poll() is None and _allocated(part) < target and not output.exists():
            pass
        taker.send_signal(signal.SIGKILL)
        taker.communicate()
        if output.exists():
            assert_same(model, output)
            output.unlink()
    done = run(nodes.home("taker"), *arguments)
    assert done.code == 0, done.stderr
    assert_same(model, output)
    assert not part.exists()


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def test_get_when_part_is_damaged_then_repaired(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", 16 * MIB)
    seed = nodes.serve("seed")
    cid = add(seed, model)
    part = tmp_path / "out.bin.part"
    payload = bytearray(model.read_bytes())
    payload[3 * MIB] ^= 1
    part.write_bytes(payload)
    done = run(
        nodes.home("taker"), "get", cid, "-o", tmp_path / "out.bin", "--json", "--no-mdns",
        "--peer", seed.address,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert_same(model, tmp_path / "out.bin")
    assert done.record["resumed_bytes"] == 15 * MIB
    assert sum(done.record["bytes_by_source"].values()) < 2 * MIB


def test_get_when_blocks_lie_on_disk_then_network_is_spared(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed, taker = nodes.serve("seed"), nodes.serve("taker")
    model = make_file("model.bin", 8 * MIB)
    near = tmp_path / "near.bin"
    near.write_bytes(model.read_bytes()[: 6 * MIB] + b"other")
    cid = add(seed, model)
    add(taker, near)
    done = taker.run("get", cid, "-o", tmp_path / "out.bin", "--json", "--peer", seed.address)
    assert done.code == 0, done.stderr
    assert_same(model, tmp_path / "out.bin")
    assert done.record["bytes_by_source"]["local:disk"] == 6 * MIB


@pytest.mark.parametrize(
    "behaviour",
    [(), ("no-range",), ("redirect",), ("etag-changes",), ("cut",), ("redirect", "no-range")],
    ids=lambda words: "+".join(words) or "plain",
)
def test_get_when_structure_kept_and_peer_gone_then_finishes_from_mirror(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path, behaviour: tuple[str, ...]
) -> None:
    model = make_file("model.bin", 12 * MIB + 5)
    home = nodes.home("taker")
    added = run(home, "add", model, "--json")
    cid = added.record["cid"]
    model.rename(tmp_path / "moved.bin")  # the tree is known, the file is not there any more
    body = (tmp_path / "moved.bin").read_bytes()
    with file_server({"files/model.bin": body}, *behaviour) as server:
        done = run(
            home, "get", cid, "-o", tmp_path / "out.bin", "--json", "--no-mdns",
            "--mirror", f"{server.url}/files/model.bin",
        )  # fmt: skip
    assert done.code == 0, done.stderr
    assert (tmp_path / "out.bin").read_bytes() == body
    assert done.record["bytes_by_source"] == {f"http:{server.url}/files/model.bin": len(body)}


@pytest.mark.parametrize("profile", ["unixfs-v1-2025", "unixfs-v0-2015"])
@pytest.mark.parametrize("behaviour", [(), ("cut",), ("redirect",)], ids="+".join)
def test_get_when_nobody_has_structure_then_rebuilt_from_whole_file_url(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path, profile: str, behaviour: tuple[str, ...]
) -> None:
    model = make_file("model.bin", 7 * MIB + 3)
    cid = run(
        nodes.home("other"), "add", model, "--only-hash", "--json", "--profile", profile
    ).record["cid"]
    with file_server({"m.bin": model.read_bytes()}, *behaviour) as server:
        done = run(
            nodes.home("taker"), "get", cid, "-o", tmp_path / "out.bin", "--json", "--no-mdns",
            "--mirror", f"{server.url}/m.bin", "--timeout", "4",
        )  # fmt: skip
    assert done.code == 0, done.stderr
    assert_same(model, tmp_path / "out.bin")


def test_get_when_url_has_another_file_then_integrity_error(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    model = make_file("model.bin", 3 * MIB)
    cid = run(nodes.home("other"), "add", model, "--only-hash", "--json").record["cid"]
    with file_server({"m.bin": model.read_bytes()}, "wrong") as server:
        done = run(
            nodes.home("taker"), "get", cid, "-o", tmp_path / "out.bin", "--no-mdns",
            "--mirror", f"{server.url}/m.bin", "--timeout", "4",
        )  # fmt: skip
    assert done.code == 12
    assert len(done.stderr.strip().splitlines()[-1:]) == 1
    assert not (tmp_path / "out.bin").exists()


def test_get_when_mirror_is_our_gateway_then_trustless(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    seed = nodes.serve("seed")
    model = make_file("model.bin", 9 * MIB)
    cid = add(seed, model)
    done = run(
        nodes.home("taker"), "get", cid, "-o", tmp_path / "out.bin", "--json", "--no-mdns",
        "--mirror", seed.gateway + "/",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert_same(model, tmp_path / "out.bin")
    assert all(source.startswith("gateway:") for source in done.record["bytes_by_source"])


def test_get_when_target_is_sha256_of_whole_file_then_found_by_alias(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    import hashlib

    from mirrornode.content.cid import Cid

    boot = nodes.serve("boot")
    seed = nodes.serve("seed", bootstrap=[boot.address])
    model = make_file("model.bin", 5 * MIB)
    add(seed, model)
    alias = Cid.raw_sha256(hashlib.sha256(model.read_bytes()).digest())
    done = run(
        nodes.home("taker"), "get", str(alias), "-o", tmp_path / "out.bin", "--json", "--no-mdns",
        "--bootstrap", boot.address, "--timeout", "40",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert_same(model, tmp_path / "out.bin")


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


UNKNOWN = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["get", "not-a-cid"], 2),
        (["get", UNKNOWN, "--timeout", "1", "--no-mdns"], 10),
        (["get", UNKNOWN, "--timeout", "1", "--no-mdns", "--mirror", "http://127.0.0.1:1/m"], 10),
        (["get", UNKNOWN, "--no-mdns", "--mirror", "ftp://x/m"], 2),
        (["get", UNKNOWN, "--no-mdns", "--peer", "nonsense"], 2),
        (["add", "/nonexistent/model.bin"], 2),
        (["peers"], 1),
    ],
    ids=["wrong cid", "no provider", "dead mirror", "bad url", "bad peer", "no file", "no daemon"],
)
def test_command_when_it_cannot_then_one_clear_line_and_code(
    nodes: Nodes, tmp_path: Path, arguments: list[str], code: int
) -> None:
    done = run(nodes.home("home"), *arguments, cwd=tmp_path)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1


def test_get_folder_when_output_is_a_file_then_usage_error(
    nodes: Nodes, make_file: MakeFile, tmp_path: Path
) -> None:
    make_file("model/a.txt", 10)
    home = nodes.home("home")
    cid = run(home, "add", tmp_path / "model", "--json").record["cid"]
    occupied = make_file("occupied", 3)
    done = run(home, "get", cid, "-o", occupied, "--no-mdns", "--timeout", "5")
    assert done.code == 2
    assert "is a folder" in done.stderr
    assert occupied.stat().st_size == 3
