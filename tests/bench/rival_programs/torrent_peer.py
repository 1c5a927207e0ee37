"""libtorrent as a program: make a v2 torrent, seed it, take it when asked (see ask.py).

DHT, LSD, UPnP, NAT-PMP and uTP are off; peers are told each other's addresses. Taking ends when
every piece is verified and written to the file, not when it has merely arrived.

    torrent_peer make PATH TORRENT
    torrent_peer seed TORRENT FOLDER HOST:PORT
    torrent_peer taker HOST:PORT SOCKET      asked: TORRENT FOLDER HOST:PORT...
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import libtorrent as lt

from bench.rival_programs.resident import answer, say_ready

PIECE_BYTES = 1 << 20
WAIT_MS = 200


def make(path: Path, torrent: Path) -> None:
    """Write a v2 torrent of a file or a folder."""
    builder = lt.create_torrent(lt.list_files(str(path)), PIECE_BYTES, lt.create_torrent.v2_only)
    lt.set_piece_hashes(builder, str(path.parent))
    torrent.write_bytes(lt.bencode(builder.generate()))


def open_session(listen: str) -> lt.session:
    """Return a session that finds nobody by itself and has no limits."""
    return lt.session(
        {
            "listen_interfaces": listen,
            "enable_dht": False,
            "enable_lsd": False,
            "enable_upnp": False,
            "enable_natpmp": False,
            "enable_incoming_utp": False,
            "enable_outgoing_utp": False,
            "allow_multiple_connections_per_ip": True,
            "connection_speed": 500,
            "tick_interval": 100,  # it connects at a tick; its default of 500 ms would be timed
            "unchoke_slots_limit": -1,
            "alert_mask": lt.alert.category_t.error_notification
            | lt.alert.category_t.status_notification
            | lt.alert.category_t.storage_notification,
        }
    )


def open_torrent(
    session: lt.session, torrent: Path, folder: Path, *, is_seed: bool
) -> lt.torrent_handle:
    """Add a torrent to a session, as a seed or as a taker."""
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(str(torrent))
    params.save_path = str(folder)
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if is_seed:
        params.flags |= lt.torrent_flags.seed_mode
    return session.add_torrent(params)


def seed(torrent: Path, folder: Path, listen: str) -> None:
    """Seed until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    session = open_session(listen)
    open_torrent(session, torrent, folder, is_seed=True)
    say_ready()
    signal.sigwait([signal.SIGTERM])


def taker(listen: str, socket_path: Path) -> None:
    """Take what is asked for; those that want it too get what is there already."""
    session = open_session(listen)

    def take(words: Sequence[str]) -> None:
        torrent, folder, *peers = words
        handle = open_torrent(session, Path(torrent), Path(folder), is_seed=False)
        for peer in peers:
            if peer != listen:
                host, _, port = peer.partition(":")
                handle.connect_peer((host, int(port)))
        while not handle.status().is_seeding:
            session.wait_for_alert(WAIT_MS)
            _raise_errors(session)
        handle.flush_cache()
        while not _is_flushed(session):
            session.wait_for_alert(WAIT_MS)

    answer(socket_path, take)


def _raise_errors(session: lt.session) -> None:
    for alert in session.pop_alerts():
        if isinstance(alert, lt.file_error_alert | lt.torrent_error_alert):
            raise OSError(alert.message())


def _is_flushed(session: lt.session) -> bool:
    return any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts())


def main() -> None:
    """Do what the command line says."""
    verb, first, second, *rest = sys.argv[1:]
    if verb == "make":
        make(Path(first), Path(second))
    elif verb == "seed":
        seed(Path(first), Path(second), rest[0])
    else:
        taker(first, Path(second))


if __name__ == "__main__":
    main()
