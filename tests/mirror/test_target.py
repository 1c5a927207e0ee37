"""What users type, and where it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode.content.cid import Cid
from mirrornode.errors import TargetError
from mirrornode.mirror.target import Target, choose_output, parse_target

# SOURCE: Kubo, `ipfs add` of the bytes "hello world\n", CIDv1 and v0.
V1 = "bafybeihykld7uyxzogax6vgyvag42y7464eywpf55gxi5qpoisibh3c5wa"
V0 = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        (V1, (), V1),
        (f"  {V0}\n", (), V0),
        (f"/ipfs/{V1}", (), V1),
        (f"/ipfs/{V1}/", (), V1),
        (f"/ipfs/{V1}/a/b c", ("a", "b c"), "b c"),
        (f"ipfs://{V1}", (), V1),
        (f"ipfs://{V1}/a%20b/%C3%BC", ("a b", "ü"), "ü"),
    ],
)
def test_target_when_well_formed_then_parsed(text: str, path: tuple[str, ...], name: str) -> None:
    target = parse_target(text)
    assert target == Target(Cid.parse(V0 if V0 in text else V1), path)
    assert target.name == name
    assert str(target) == "/".join([str(target.cid), *path])


@pytest.mark.parametrize(
    "text",
    ["", " ", "nonsense", "/ipfs/", "ipfs://", "/ipfs/nonsense/a", f"{V1}/a", f"/ipns/{V1}",
     f"https://ipfs.io/ipfs/{V1}", "hf:org/name", f"/ipfs/{V1}/a//b", f"/ipfs/{V1}/../b",
     f"/ipfs/{V1}/.", f"ipfs://{V1}/%00", f"ipfs://{V1}/%2e%2e/x", f"/ipfs/{V1}/" + "x" * 300],
)  # fmt: skip
def test_target_when_malformed_then_target_error(text: str) -> None:
    with pytest.raises(TargetError):
        parse_target(text)


TARGET = Target(Cid.parse(V1), ("models", "m.bin"))


@pytest.mark.parametrize(
    ("destination", "is_file", "expected"),
    [
        (None, True, "m.bin"),
        (None, False, "m.bin"),
        ("new", True, "new"),
        ("new", False, "new"),
        ("a/b/new", True, "a/b/new"),
        ("folder", True, "folder/m.bin"),
        ("folder", False, "folder"),
        ("file", True, "file"),
        ("link", True, "link/m.bin"),
    ],
)
def test_output_is_where_the_user_expects_it(
    tmp_path: Path, destination: str | None, is_file: bool, expected: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("folder")
    given = Path(destination) if destination else None
    assert choose_output(TARGET, given, tmp_path, is_file=is_file) == tmp_path / expected


def test_output_when_absolute_then_taken_as_it_is(tmp_path: Path) -> None:
    assert choose_output(TARGET, tmp_path / "x", Path("/"), is_file=True) == tmp_path / "x"


@pytest.mark.parametrize(
    ("destination", "is_file"),
    [(None, True), ("file", False), ("broken", False), ("folder", True)],
    ids=["own name is a folder", "folder over a file", "folder over a link", "taken in the folder"],
)
def test_output_when_something_is_in_the_way_then_target_error(
    tmp_path: Path, destination: str | None, is_file: bool
) -> None:
    (tmp_path / "m.bin").mkdir()
    (tmp_path / "folder" / "m.bin").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "broken").symlink_to("nowhere")
    given = Path(destination) if destination else None
    with pytest.raises(TargetError):
        choose_output(TARGET, given, tmp_path, is_file=is_file)
