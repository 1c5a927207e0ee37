"""A stand-in for the Hugging Face Hub, with a CDN on another host, faults and a request log.

    with running_hub() as hub:
        repo = hub.add_model("org/name", {"config.json": b"{}", "model.safetensors": Blob(9, 1)})
        hub.mode = "redirect"                       # "direct" | "redirect" (signed CDN URLs)
        hub.with_xet = True                         # traces of Xet in headers and trees
        hub.cut(after_bytes=1000, match="model")    # see the methods of HubFaults
        hub.log, hub.file_bytes_sent("model.safetensors"), hub.tokens_seen_by(hub.cdn_host)
        hub.stop(); hub.start()                     # the same ports again

Tokens: `ALICE` may see everything, `BOB` is a user without any grant; `hub.grant(token, name)`
lets one in, any other token is invalid. The Hub's host is 127.0.0.1:PORT, the CDN's
localhost:OTHER. It answers what the facts of the project say the Hub answers; it parses paths
with code of its own, so that a mistake of ours is not made twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

from support.hub_repos import Blob, Commit, Content, HeldRepo, Stored, folder_record

__all__ = ["ALICE", "BOB", "Blob", "Fault", "HeldRepo", "Logged", "StandInHub", "running_hub"]

ALICE = "hf_alice_may_all"
BOB = "hf_bob_may_nothing"
PREFIX_OF = {"model": "", "dataset": "datasets/", "space": "spaces/"}
TYPE_OF = {"models": "model", "datasets": "dataset", "spaces": "space"}
STEP_BYTES = 256 * 1024
TRUE = ("true", "True", "1")

_FILE_ROUTE = re.compile(r"/(?:(datasets|spaces)/)?([^/]+(?:/[^/]+)?)/(resolve|raw)/([^/]+)/(.+)")
_API_ROUTE = re.compile(r"/api/(models|datasets|spaces)/(.+)")
_API_VERB = re.compile(
    r"([^/]+(?:/[^/]+)??)(?:/(revision|tree|paths-info|refs|commits|auth-check|xet-read-token)"
    r"(?:/([^/]+)(?:/(.*))?)?)?"
)


@dataclass
class Logged:
    """One request: where it came in, what it showed, what it got.

    Attributes:
        host: "127.0.0.1:PORT" of the Hub or "localhost:PORT" of the CDN.
        path: As sent, without the query; the prefix is left out.
        file: The path in the repo, for requests of file content, on the CDN too.
        token: The bearer it showed, "" for none.
        body_bytes: Bytes of the body that were sent, for GET.
    """

    method: str
    host: str
    path: str
    query: str
    file: str
    token: str
    range: str
    headers: Mapping[str, str]
    status: int = 0
    body_bytes: int = 0

    @property
    def had_token(self) -> bool:
        return bool(self.token)


@dataclass
class Fault:
    """What goes wrong, for requests whose path holds `match`; `times` is -1 for always."""

    kind: str
    match: str
    times: int = -1
    value: float = 0
    text: str = ""
    released: threading.Event = field(default_factory=threading.Event)


class HubFaults:
    """Faults to switch on; `match` is a part of the raw path, or of the file's name on the CDN."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._fault_lock = threading.Lock()

    def cut(self, *, after_bytes: int, match: str = "", times: int = -1) -> None:
        """Close the connection after that many bytes of a file's body."""
        self._add(Fault("cut", match, times, after_bytes))

    def hold(self, *, after_bytes: int, match: str = "", times: int = 1) -> threading.Event:
        """Stop in the middle of a file's body until the returned event is set."""
        return self._add(Fault("hold", match, times, after_bytes)).released

    def delay(self, seconds: float, *, match: str = "", times: int = -1) -> threading.Event:
        """Answer only after `seconds`, or when the returned event is set."""
        return self._add(Fault("delay", match, times, seconds)).released

    def ignore_ranges(self, *, match: str = "") -> None:
        """Answer 200 with the whole file."""
        self._add(Fault("no-range", match))

    def corrupt(self, *, match: str = "", at: int = 0, times: int = -1) -> None:
        """Send files with one wrong byte at `at`."""
        self._add(Fault("corrupt", match, times, at))

    def refuse(
        self, status: int, *, match: str = "", times: int = -1, retry_after: str = ""
    ) -> None:
        """Answer 429, 500, 503... instead."""
        self._add(Fault("refuse", match, times, status, retry_after))

    def garble(self, text: str = "<html>", *, match: str = "/api/", times: int = -1) -> None:
        """Answer 200 with `text` instead of JSON."""
        self._add(Fault("garble", match, times, text=text))

    def heal(self) -> None:
        """Take back all faults."""
        with self._fault_lock:
            for fault in self._faults:
                fault.released.set()
            self._faults.clear()

    def take(self, kind: str, place: str) -> Fault | None:
        """Return the fault to play now, counting it."""
        with self._fault_lock:
            for fault in self._faults:
                if fault.kind == kind and fault.match in place and fault.times != 0:
                    fault.times -= 1 if fault.times > 0 else 0
                    return fault
        return None

    def _add(self, fault: Fault) -> Fault:
        with self._fault_lock:
            self._faults.append(fault)
        return fault


class StandInHub(HubFaults):
    """The Hub and its CDN; attributes may be changed at any time.

    Attributes:
        mode: "direct": files come from the Hub; "redirect": LFS files from the CDN (302).
        resolve_cache: Small files come after a 307 to a relative URL, as on the real Hub.
        with_xet: Answers show traces of Xet; its token route is 404.
        has_sizes: False leaves out Content-Length and X-Linked-Size on HEAD.
        page_size: Tree entries and commits in one answer.
    """

    def __init__(self, folder: Path, prefix: str = "") -> None:
        super().__init__()
        self.prefix = prefix
        self.mode = "direct"
        self.resolve_cache = False
        self.with_xet = False
        self.has_sizes = True
        self.page_size = 1000
        self.log: list[Logged] = []
        self.repos: dict[tuple[str, str], HeldRepo] = {}
        self._folder = folder
        self._moved: dict[tuple[str, str], str] = {}
        self._users: dict[str, str] = {ALICE: "alice", BOB: "bob"}
        self._grants: set[tuple[str, str]] = {(ALICE, "*")}
        self._signature = 1
        self._servers: list[_Server] = []
        self._ports = (0, 0)
        self.start()

    # Places

    @property
    def url(self) -> str:
        """What a client gets as HF_ENDPOINT, without a slash at the end."""
        return f"http://{self.host}{self.prefix}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def cdn_host(self) -> str:
        return f"localhost:{self._ports[1]}"

    def start(self) -> None:
        """Listen, on the ports of before if there were any."""
        for number, name in enumerate(("127.0.0.1", "localhost")):
            server = _Server(self, self._ports[number], name, is_cdn=number == 1)
            self._servers.append(server)
        self._ports = (self._servers[0].server_port, self._servers[1].server_port)

    def stop(self) -> None:
        """Refuse connections and break those there are."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()

    # Content

    def add_model(
        self,
        name: str,
        files: Mapping[str, Content],
        *,
        gated: bool | str = False,
        private: bool = False,
        licence: str = "",
        repo_type: str = "model",
    ) -> HeldRepo:
        """Add a repo with one commit; `gated` is "auto", "manual" or True for "auto"."""
        mode = "auto" if gated is True else gated or ""
        repo = HeldRepo(repo_type, name, self._folder, mode, private, licence)
        repo.commit(files, title="initial commit")
        self.repos[repo_type, name] = repo
        return repo

    def add_dataset(self, name: str, files: Mapping[str, Content], **more: Any) -> HeldRepo:
        return self.add_model(name, files, repo_type="dataset", **more)

    def add_space(self, name: str, files: Mapping[str, Content], **more: Any) -> HeldRepo:
        return self.add_model(name, files, repo_type="space", **more)

    def rename(self, old: str, new: str, repo_type: str = "model") -> None:
        """Give a repo another name; the old one answers 307."""
        repo = self.repos[repo_type, new] = self.repos.pop((repo_type, old))
        repo.name = new
        self._moved[repo_type, old] = new

    def remove(self, name: str, repo_type: str = "model") -> None:
        del self.repos[repo_type, name]

    def add_user(self, token: str, name: str) -> None:
        self._users[token] = name

    def grant(self, token: str, name: str) -> None:
        """Let a user into a gated or private repo; "*" is all of them."""
        self._grants.add((token, name))

    def revoke(self, token: str, name: str) -> None:
        self._grants.discard((token, name))

    def forget_user(self, token: str) -> None:
        """Make a token invalid."""
        self._users.pop(token)

    def expire_signatures(self) -> None:
        """Make every signed URL given out so far answer 403."""
        self._signature += 1

    # What happened

    def requests(self, match: str = "", *, method: str = "", host: str = "") -> list[Logged]:
        """Return the logged requests whose path holds `match`."""
        return [
            item
            for item in list(self.log)
            if match in item.path and method in ("", item.method) and host in ("", item.host)
        ]

    def file_bytes_sent(self, file: str) -> int:
        """Return how many bytes of bodies of this file left the Hub and its CDN."""
        return sum(item.body_bytes for item in list(self.log) if item.file == file)

    def tokens_seen_by(self, host: str) -> set[str]:
        """Return the tokens that came in at `hub.host` or `hub.cdn_host`."""
        return {item.token for item in list(self.log) if item.host == host and item.token}

    # Rules, used by the request below

    def user_of(self, token: str) -> str | None:
        return self._users.get(token)

    def is_granted(self, token: str, name: str) -> bool:
        return bool({(token, name), (token, "*")} & self._grants) and token in self._users

    def moved_to(self, repo_type: str, name: str) -> str | None:
        return self._moved.get((repo_type, name))

    def signed(self, stored: Stored, file: str) -> str:
        query = f"file={quote(file, safe='')}&Expires=1900000000&Signature={self._signature}"
        return f"http://{self.cdn_host}/repos/{stored.sha256}?{query}"

    def is_signed(self, signature: str) -> bool:
        return signature == str(self._signature)

    def stored_as(self, sha256: str) -> Stored | None:
        for repo in self.repos.values():
            for commit in repo.commits.values():
                for stored in commit.files.values():
                    if stored.sha256 == sha256:
                        return stored
        return None


@contextlib.contextmanager
def running_hub(prefix: str = "", folder: Path | None = None) -> Iterator[StandInHub]:
    """Run a stand-in Hub for the length of the block; `prefix` is a path such as "/art/hub"."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-")))
        hub = StandInHub(folder, prefix)
        try:
            yield hub
        finally:
            hub.heal()
            hub.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: StandInHub, port: int, name: str, *, is_cdn: bool) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.hub = hub
        self.host = f"{name}:{self.server_port}"
        self.is_cdn = is_cdn
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients come and go."""

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Refused(Exception):
    """An answer other than the asked one."""

    def __init__(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if code:
            self.headers["X-Error-Code"] = code
        if message:
            self.headers["X-Error-Message"] = message
        self.message = message


class _Request(BaseHTTPRequestHandler):
    """One connection; every request of it is logged, then answered."""

    protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]  # the base sets it on the class too
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        hub = self.server.hub
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        path = parts.path
        bearer = self.headers.get("Authorization", "")
        self.token = bearer.removeprefix("Bearer ")
        self.sent_body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_below = self.server.is_cdn or path.startswith(hub.prefix + "/")
        self.place = path if self.server.is_cdn else path.removeprefix(hub.prefix)
        route = None if self.server.is_cdn else _FILE_ROUTE.fullmatch(self.place)
        file = unquote(route[5]) if route else (self.query.get("file") or [""])[0]
        self.entry = Logged(
            self.command,
            self.server.host,
            self.place,
            parts.query,
            file,
            self.token,
            self.headers.get("Range", ""),
            {name.lower(): value for name, value in self.headers.items()},
        )
        hub.log.append(self.entry)
        self.where = f"{self.place} {file}"
        with contextlib.suppress(OSError):
            try:
                self._play_faults()
                if not is_below:
                    raise _Refused(404)
                self._answer(route)
            except _Refused as refusal:
                # The body as the Hub writes it; clients read the headers.
                body = json.dumps({"error": refusal.message or "error"}).encode()
                self._send(refusal.status, refusal.headers, body, "application/json")
            return
        self.close_connection = True

    do_HEAD = do_GET
    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _play_faults(self) -> None:
        hub = self.server.hub
        if fault := hub.take("delay", self.where):
            fault.released.wait(fault.value)
        if fault := hub.take("refuse", self.where):
            more = {"Retry_After": fault.text} if fault.text else {}
            raise _Refused(int(fault.value), "", "out of order", **more)

    def _answer(self, route: re.Match[str] | None) -> None:
        hub = self.server.hub
        if self.server.is_cdn:
            self._answer_cdn()
            return
        if self.token and hub.user_of(self.token) is None:
            raise _Refused(401, "", "Invalid credentials in Authorization header")
        if fault := hub.take("garble", self.where):
            self._send(200, {}, fault.text.encode(), "application/json")
        elif self.place == "/api/whoami-v2":
            self._answer_whoami()
        elif self.place.startswith("/api/resolve-cache/"):
            self._answer_resolve_cache()
        elif route:
            self._answer_file(route)
        elif api := _API_ROUTE.fullmatch(self.place):
            self._answer_api(TYPE_OF[api[1]], api[2])
        else:
            raise _Refused(404, "", "Sorry, we can't find the page you are looking for.")

    # Files

    def _answer_file(self, route: re.Match[str]) -> None:
        prefix, name, verb, raw_revision, raw_path = route.groups()
        repo_type = TYPE_OF[prefix or "models"]
        repo = self._repo(repo_type, name)
        commit = self._commit(repo, unquote(raw_revision))
        path = unquote(raw_path)
        headers = {"X-Repo-Commit": commit.sha}
        stored = commit.files.get(path)
        if path != "README.md":
            self._check_gate(repo)
        if stored is None:
            raise _Refused(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit.sha)
        if verb == "raw":
            body = stored.pointer if stored.is_lfs else stored.place.read_bytes()
            self._send(200, {**headers, "ETag": f'"{stored.git_oid}"'}, body, "text/plain")
            return
        hub = self.server.hub
        headers |= {"ETag": f'"{stored.etag}"', "Accept-Ranges": "bytes"}
        headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(path.split('/')[-1])}"
        if stored.is_lfs:
            headers |= {"X-Linked-ETag": f'"{stored.etag}"'}
            if hub.has_sizes:
                headers["X-Linked-Size"] = str(stored.size_bytes)
            if hub.with_xet:
                api = f"{hub.url}/api/{repo_type}s/{name}/xet-read-token/{commit.sha}"
                headers["X-Xet-Hash"] = stored.sha256[::-1]
                headers["Link"] = f'<{api}>; rel="xet-auth"'
        if stored.is_lfs and hub.mode == "redirect":
            # As the CDN's answer to a client that looks at the first one only.
            headers |= {"ETag": '"of-the-redirect"', "Location": hub.signed(stored, path)}
            self._send(302, headers, b"Found. Redirecting", "text/plain")
        elif not stored.is_lfs and hub.resolve_cache:
            where = f"{repo_type}s/{name}/{commit.sha}/{quote(path)}"
            headers["Location"] = f"{hub.prefix}/api/resolve-cache/{where}"
            self._send(307, headers, b"Temporary Redirect", "text/plain")
        else:
            self._send_file(stored, headers)

    def _answer_resolve_cache(self) -> None:
        _, _, _, types, rest = self.place.split("/", 4)
        for (repo_type, name), repo in list(self.server.hub.repos.items()):
            if types == f"{repo_type}s" and rest.startswith(name + "/"):
                sha, _, raw_path = rest.removeprefix(name + "/").partition("/")
                self._repo(repo_type, name)
                self._check_gate(repo)
                stored = repo.commits[sha].files[unquote(raw_path)]
                self.entry.file = unquote(raw_path)
                self._send_file(stored, {"X-Repo-Commit": sha, "ETag": f'"{stored.etag}"'})
                return
        raise _Refused(404, "EntryNotFound")

    def _answer_cdn(self) -> None:
        hub = self.server.hub
        stored = hub.stored_as(self.place.rpartition("/")[2])
        if stored is None or not hub.is_signed((self.query.get("Signature") or [""])[0]):
            raise _Refused(403)
        # An ETag of the object store: whoever takes it for the blob's name is wrong.
        self._send_file(stored, {"ETag": f'"{stored.git_oid[:32]}-7"', "Accept-Ranges": "bytes"})

    # API

    def _answer_api(self, repo_type: str, rest: str) -> None:
        match = _API_VERB.fullmatch(rest)
        if match is None:
            raise _Refused(404, "", "no such route")
        name, verb, raw_revision, raw_path = match.groups()
        repo = self._repo(repo_type, unquote(name))
        if verb == "refs":
            self._send_json(self._refs(repo))
        elif verb == "auth-check":
            self._check_gate(repo)
            self._send_json({})
        elif verb == "xet-read-token":
            raise _Refused(404, "", "no xet here")
        elif verb in (None, "revision"):
            commit = self._commit(repo, unquote(raw_revision or "main"))
            self._send_json(self._info(repo, commit))
        else:
            commit = self._commit(repo, unquote(raw_revision or "main"))
            if verb == "tree":
                self._answer_tree(repo, commit, unquote(raw_path or ""))
            elif verb == "commits":
                self._send_page(self._history(commit))
            else:
                self._answer_paths_info(repo, commit)

    def _info(self, repo: HeldRepo, commit: Commit) -> dict[str, Any]:
        hub = self.server.hub
        blobs = (self.query.get("blobs") or [""])[0] in TRUE
        info = repo.info(commit, blobs=blobs, with_xet=hub.with_xet)
        if expand := self.query.get("expand"):
            kept = {"_id", "id", *expand}
            info = {key: value for key, value in info.items() if key in kept}
        return info

    def _answer_tree(self, repo: HeldRepo, commit: Commit, folder: str) -> None:
        records = repo.records(
            commit,
            folder.rstrip("/"),
            recursive=(self.query.get("recursive") or [""])[0] in TRUE,
            expand=(self.query.get("expand") or [""])[0] in TRUE,
            with_xet=self.server.hub.with_xet,
        )
        if records is None:
            raise _Refused(
                404, "EntryNotFound", f"{folder} does not exist", X_Repo_Commit=commit.sha
            )
        self._send_page(records)

    def _answer_paths_info(self, repo: HeldRepo, commit: Commit) -> None:
        if self.headers.get("Content-Type", "").startswith("application/json"):
            asked = json.loads(self.sent_body)
            paths, expand = asked.get("paths", []), bool(asked.get("expand"))
        else:
            form = parse_qs(self.sent_body.decode(), keep_blank_values=True)
            paths, expand = form.get("paths", []), (form.get("expand") or [""])[0] in TRUE
        records = []
        for path in [paths] if isinstance(paths, str) else paths:
            if stored := commit.files.get(path):
                with_xet = self.server.hub.with_xet
                records.append(repo.file_record(path, stored, expand=expand, with_xet=with_xet))
            elif any(file.startswith(path.rstrip("/") + "/") for file in commit.files):
                records.append(folder_record(path))
        self._send_json(records)

    def _refs(self, repo: HeldRepo) -> dict[str, Any]:
        kinds = {"tags": "refs/tags/", "branches": "refs/heads/", "converts": "refs/convert/"}
        if (self.query.get("include_prs") or [""])[0] in TRUE:
            kinds["pullRequests"] = "refs/pr/"
        return {
            kind: [
                {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": commit.sha}
                for ref, commit in repo.ref_of.items()
                if ref.startswith(prefix)
            ]
            for kind, prefix in kinds.items()
        }

    def _history(self, commit: Commit | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while commit is not None:
            authors = [{"user": "alice", "avatar": ""}]
            found.append({"id": commit.sha, "title": commit.title, "message": "",
                          "authors": authors, "date": "2026-01-02T03:04:05.000Z"})  # fmt: skip
            commit = commit.parent
        return found

    def _answer_whoami(self) -> None:
        name = self.server.hub.user_of(self.token)
        if name is None:
            raise _Refused(401, "", "Invalid username or password.")
        self._send_json({"type": "user", "id": "1", "name": name, "fullname": name, "orgs": [],
                         "auth": {"type": "access_token"}})  # fmt: skip

    # Rules

    def _repo(self, repo_type: str, name: str) -> HeldRepo:
        hub = self.server.hub
        if (new := hub.moved_to(repo_type, name)) is not None:
            location = hub.prefix + self.path.removeprefix(hub.prefix).replace(name, new, 1)
            raise _Refused(307, Location=location)
        repo = hub.repos.get((repo_type, name))
        if repo is None or (repo.private and not hub.is_granted(self.token, name)):
            status = 404 if hub.user_of(self.token) else 401
            message = "Repository not found" if status == 404 else "Invalid username or password."
            raise _Refused(status, "RepoNotFound", message)
        return repo

    def _commit(self, repo: HeldRepo, revision: str) -> Commit:
        commit = repo.find(revision)
        if commit is None:
            raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _check_gate(self, repo: HeldRepo) -> None:
        if not repo.gated or self.server.hub.is_granted(self.token, repo.name):
            return
        if not self.token:
            raise _Refused(401, "GatedRepo", f"Access to model {repo.name} is restricted.")
        raise _Refused(403, "GatedRepo", f"Access to model {repo.name} is restricted and you are "
                       "not in the authorized list.")  # fmt: skip

    # Sending

    def _send_page(self, records: list[dict[str, Any]]) -> None:
        hub = self.server.hub
        start = int((self.query.get("cursor") or ["0"])[0])
        stop = start + hub.page_size
        headers = {}
        if stop < len(records):
            # Absolute, and with the rest of the query, as the Hub does.
            kept = "".join(
                f"{name}={quote(value)}&"
                for name, values in self.query.items()
                for value in values
                if name != "cursor"
            )
            headers["Link"] = f'<{hub.url}{self.place}?{kept}cursor={stop}>; rel="next"'
        self._send_json(records[start:stop], headers)

    def _send_json(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self._send(200, dict(headers or {}), body, "application/json; charset=utf-8")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, kind: str) -> None:
        self._head(status, {**headers, "Content-Type": kind, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.entry.body_bytes += len(body) if status < 300 else 0
            self.wfile.write(body)

    def _send_file(self, stored: Stored, headers: dict[str, str]) -> None:
        hub = self.server.hub
        size = stored.size_bytes
        headers["Content-Type"] = "application/octet-stream"
        start, stop, status = 0, size, 200
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and not hub.take("no-range", self.where):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, size - int(last))
            stop = min(int(last) + 1, size) if first and last else size
            if start >= size:
                raise _Refused(416, Content_Range=f"bytes */{size}")
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            status = 206
        if hub.has_sizes or self.command != "HEAD":
            headers["Content-Length"] = str(stop - start)
        self._head(status, headers)
        if self.command == "HEAD":
            if not hub.has_sizes:
                self.close_connection = True
            return
        place = stored.place
        if fault := hub.take("corrupt", self.where):
            place = _spoilt(place, int(fault.value))
        cut, hold = hub.take("cut", self.where), hub.take("hold", self.where)
        end = min(stop, start + int(cut.value)) if cut else stop
        marks = sorted({end, min(end, start + int(hold.value)) if hold else end})
        with place.open("rb") as opened:
            for mark in marks:
                start = self._send_range(opened.fileno(), start, mark)
                if hold and mark != end:
                    hold.released.wait(60)
        if end < stop:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_WR)

    def _send_range(self, descriptor: int, start: int, stop: int) -> int:
        while start < stop:
            step = min(STEP_BYTES, stop - start)
            # Logged first: whoever has the bytes may look at once.
            self.entry.body_bytes += step
            count = 0
            try:
                count = os.sendfile(self.connection.fileno(), descriptor, start, step)
            finally:
                self.entry.body_bytes -= step - count
            start += count
        return start

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.entry.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


_copies = itertools.count()


def _spoilt(place: Path, at: int) -> Path:
    """Return a copy of the file with one wrong byte."""
    copy = place.with_name(f"{place.name}-spoilt-{at}")
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}-{next(_copies)}")
        data = bytearray(place.read_bytes())
        if data:
            data[min(at, len(data) - 1)] ^= 1
        draft.write_bytes(data)
        draft.rename(copy)
    return copy
