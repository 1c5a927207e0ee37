"""What is written into the cache of the Hub's clients, and reading its place from the environment.

SOURCE of the layout: huggingface.co/docs/hub/local-cache; of the variables: huggingface_hub 2.4.0.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrornode.mirror.hub.cache_layout import looks_like_cache, show_file, write_ref
from mirrornode.mirror.hub.client_env import hub_cache, hub_token
from mirrornode.wire.hub import Repo

MODEL = Repo("model", "org/name")
COMMIT = "c" * 40
ETAG = "e" * 64


def test_show_file_when_in_a_folder_then_the_link_climbs_out_of_it(tmp_path: Path) -> None:
    show_file(tmp_path, MODEL, COMMIT, "a/b/model.bin", ETAG)
    link = tmp_path / "models--org--name" / "snapshots" / COMMIT / "a" / "b" / "model.bin"
    assert os.readlink(link) == f"../../../../blobs/{ETAG}"


@pytest.mark.parametrize(
    ("repo", "revision", "path"),
    [
        (MODEL, "main", "models--org--name/refs/main"),
        (MODEL, "refs/pr/1", "models--org--name/refs/refs/pr/1"),
        (Repo("dataset", "org/d"), "feature/x", "datasets--org--d/refs/feature/x"),
        (Repo("model", "gpt2"), "v1", "models--gpt2/refs/v1"),
    ],
)
def test_write_ref_when_it_is_no_commit_then_forty_letters_and_no_newline(
    tmp_path: Path, repo: Repo, revision: str, path: str
) -> None:
    write_ref(tmp_path, repo, revision, COMMIT)
    assert (tmp_path / path).read_bytes() == COMMIT.encode()


def test_write_ref_when_it_is_a_commit_then_nothing(tmp_path: Path) -> None:
    write_ref(tmp_path, MODEL, COMMIT, COMMIT)
    assert os.listdir(tmp_path) == []


def test_looks_like_cache_when_it_holds_a_repo_then_only_that_folder(tmp_path: Path) -> None:
    show_file(tmp_path, MODEL, COMMIT, "a", ETAG)
    assert looks_like_cache(tmp_path)
    assert not looks_like_cache(tmp_path / "models--org--name")
    assert not looks_like_cache(tmp_path / "none")


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HUB_CACHE": ""}, f"{Path.home()}/.cache/huggingface/hub"),
        ({"HF_HOME": "~/x"}, f"{Path.home()}/x/hub"),
    ],
)
def test_hub_cache_as_the_clients_find_it(environ: dict[str, str], cache: str) -> None:
    assert hub_cache(environ) == Path(cache)


def test_hub_token_as_the_clients_find_it(tmp_path: Path) -> None:
    home = {"HF_HOME": str(tmp_path)}
    assert hub_token(home) == ""
    (tmp_path / "token").write_text("hf_file\n")
    (tmp_path / "other").write_text(" hf_other ")
    assert hub_token(home) == "hf_file"
    assert hub_token({**home, "HF_TOKEN_PATH": str(tmp_path / "other")}) == "hf_other"
    assert hub_token({**home, "HUGGING_FACE_HUB_TOKEN": "hf_old"}) == "hf_old"
    assert hub_token({**home, "HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_TOKEN": "hf_x"}) == "hf_x"
    assert hub_token({**home, "HF_TOKEN": "hf_x", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}) == ""
