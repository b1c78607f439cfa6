"""`ofcd peers`: look at other relays, and say of one that nothing is to be taken from it."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from typing import TYPE_CHECKING, Final

from ofcd.config import Settings
from ofcd.errors import ConfigError

if TYPE_CHECKING:
    from ofcd.daemon.orders import Order
    from ofcd.protocol.ids import RelayId
    from ofcd.store import PeerRow, Store

__all__ = ["add_arguments", "run"]

_OK: Final = 0
_FAILED: Final = 1
_USAGE: Final = 2
_UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_WHOLE_ID: Final = "[0-9a-f]{64}"
_PATIENCE_SECONDS: Final = 30
"""For a relay that runs: it looks every ten seconds, and may be busy."""
_FORGOTTEN: Final = """\
What was known of the keys of {name} is forgotten.
The line of keys that it shows next is believed, if it begins with its id: ask its operator,
over another way, what `ofcd keys` says there, before you start the relay.
"""
_BY_HAND: Final = "by hand"
_NOBODY_LISTENS: Final = "federation is off: a relay that runs so takes no orders, stop it before"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be said after `ofcd peers`."""
    acts = parser.add_mutually_exclusive_group()
    acts.add_argument(
        "--evidence", action="store_true", help="print what was kept of relays that lied"
    )
    acts.add_argument(
        "--forget-keys",
        metavar="RELAY",
        help="drop what is known of this one's keys, by its name or id; stop the relay first",
    )
    acts.add_argument(
        "--quarantine",
        metavar="RELAY",
        help="take nothing from this one from now on, by its name or id; the relay may run",
    )
    acts.add_argument("--release", metavar="RELAY", help="end this one's quarantine")
    parser.add_argument("--reason", metavar="TEXT", help="why, with --quarantine: it is shown here")
    parser.add_argument(
        "--for",
        dest="span",
        type=_span,
        metavar="TIME",
        help="how long, with --quarantine: 90m, 12h or 7d; until --release otherwise",
    )


def _span(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,3})([mhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time like 90m, 12h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Do what was asked; returns the exit code."""
    if (options.reason or options.span) and not options.quarantine:
        return _refuse("--reason and --for go with --quarantine")
    if options.quarantine or options.release:
        return _order(options, settings)
    if options.forget_keys:
        return _forget_keys(settings, options.forget_keys)
    return _list(settings, as_json=options.json, evidence=options.evidence)


def _list(settings: Settings, *, as_json: bool, evidence: bool) -> int:
    from ofcd.daemon import report
    from ofcd.daemon.run import milliseconds
    from ofcd.store import Store

    with Store.open(settings.database_url, migrate=False, read_only=True) as store:
        peers, copies, gaps = store.peers(), store.replicas(), store.gaps()
        kept = store.evidence() if evidence else []
    if evidence:
        found = [*map(report.evidence_figures, kept)]
        found += [report.dispute_figures(peer) for peer in peers if peer.branch]
        sys.stdout.writelines(json.dumps(one) + "\n" for one in found)
        return _OK
    figures = [
        report.peer_figures(peer, [c for c in copies if c.hub == peer.relay_id], gaps)
        for peer in peers
    ]
    if as_json:
        sys.stdout.writelines(json.dumps(one) + "\n" for one in figures)
        return _OK
    sys.stdout.writelines(report.peer_lines(one, milliseconds()) for one in figures)
    mode = settings.federation.mode
    unknown = [] if mode == "off" else report.unknown_lines(settings.federation.peers, peers)
    sys.stdout.writelines(unknown)
    if not figures and not unknown:
        sys.stdout.write(f"no other relays yet (federation is {mode})\n")
    return _OK


def _forget_keys(settings: Settings, wanted: str) -> int:
    from ofcd.daemon import report
    from ofcd.store import Store

    with Store.open(settings.database_url, migrate=False) as store:  # no relay holds it meanwhile
        found = _meant(store.peers(), wanted)
        if isinstance(found, str):
            return _refuse(found)
        store.forget_keys(found.relay_id)
    sys.stdout.write(_FORGOTTEN.format(name=report.name_of(found)))
    return _OK


def _meant(peers: list[PeerRow], wanted: str) -> PeerRow | str:
    """The one relay that is meant; or why there is none."""
    from ofcd.daemon import report

    found = [peer for peer in peers if report.is_meant(peer, wanted)]
    if len(found) == 1:
        return found[0]
    why = "is no relay's name or id here" if not found else "means more than one relay"
    return f"{wanted} {why}: see ofcd peers"


def _refuse(why: str) -> int:
    sys.stderr.write(f"ofcd: {why}\n")
    return _USAGE


# -- quarantine by hand ----------------------------------------------------------------------------


def _order(options: argparse.Namespace, settings: Settings) -> int:
    """Put a relay in quarantine, or let it out: in the database, or by the relay that holds it."""
    from ofcd.daemon import report
    from ofcd.daemon.orders import FOREVER, Order
    from ofcd.daemon.run import milliseconds
    from ofcd.protocol.ids import RelayId
    from ofcd.store import PeerRow, Store

    wanted = options.quarantine or options.release
    with Store.open(settings.database_url, migrate=False, read_only=True) as store:
        found = _meant(store.peers(), wanted)
    plain = wanted.lower().replace(" ", "")
    if isinstance(found, str) and options.quarantine and re.fullmatch(_WHOLE_ID, plain):
        found = PeerRow(RelayId(bytes.fromhex(plain)), ts=milliseconds())  # before it comes
    if isinstance(found, str):
        return _refuse(found)
    until = 0
    if options.quarantine:
        until = FOREVER if options.span is None else milliseconds() + options.span
    reason = _BY_HAND + (f": {options.reason}" if options.reason else "")
    order = Order(found.relay_id, until, reason if until else "")
    if not _carried_out(settings, order):
        sys.stderr.write(
            "ofcd: the relay that runs has not done it yet, but is told to: see its log, and then "
            "ofcd peers\n"
        )
        return _FAILED
    told = "is in quarantine: nothing is taken from it" if until else "is in quarantine no more"
    sys.stdout.write(f"{report.name_of(found)} {told}.\n")
    return _OK


def _carried_out(settings: Settings, order: Order) -> bool:
    from ofcd.daemon import orders
    from ofcd.store import Locked, Store
    from ofcd.store.engine import database_path

    folder = settings.data_dir
    try:
        with Store.open(settings.database_url, migrate=False) as store:
            for path, left in orders.left_in(folder):  # said before this, and not to come after it
                if left is None:
                    orders.put_aside(path)
                    continue
                _put(store, left)
                path.unlink(missing_ok=True)
            _put(store, order)
            return True
    except Locked:
        if settings.federation.mode == "off":
            raise ConfigError(_NOBODY_LISTENS) from None
        path = orders.leave(folder, order, database_path(settings.database_url))
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while path.exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    with Store.open(settings.database_url, migrate=False, read_only=True) as store:
        row = _row_of(store, order.relay_id)
    return row is not None and row.quarantined == order.until


def _put(store: Store, order: Order) -> None:
    from ofcd.daemon.run import milliseconds
    from ofcd.store import PeerRow

    known = _row_of(store, order.relay_id) or PeerRow(order.relay_id, ts=milliseconds())
    store.put_peer(order.applied(known))


def _row_of(store: Store, relay_id: RelayId) -> PeerRow | None:
    return next((peer for peer in store.peers() if peer.relay_id == relay_id), None)
