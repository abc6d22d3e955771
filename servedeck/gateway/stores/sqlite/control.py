"""What an operator set at run time, in the file."""

from __future__ import annotations

import sqlite3

import msgspec

from servedeck.gateway.stores.sqlite.database import Transaction
from servedeck.gateway.stores.store import Control

CLOSED = "(SELECT value FROM setting WHERE name = 'closed')"
"""Control.closed_by; NULL or '' while the queue is open."""

_decoder = msgspec.json.Decoder(tuple[bool, int | None, int | None])


def read_control(db: sqlite3.Connection) -> Control:
    limits, closed_by = db.execute(
        f"SELECT value, {CLOSED} FROM setting WHERE name = 'control'"  # noqa: S608 - a constant
    ).fetchone()
    control = Control(*_decoder.decode(limits)) if limits else Control()
    return control._replace(closed_by=closed_by or "")


def set_control(tx: Transaction, control: Control, expected: Control | None) -> bool:
    if expected is not None and read_control(tx.db) != expected:
        return False
    # Apart, as files of earlier versions have no more than three values in one.
    limits = (control.paused, control.concurrency, control.pod_concurrency)
    tx.db.execute(
        "UPDATE setting SET value = ? WHERE name = 'control'", (msgspec.json.encode(limits),)
    )
    tx.db.execute("INSERT OR REPLACE INTO setting VALUES ('closed', ?)", (control.closed_by,))
    return True
