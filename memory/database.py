"""Opening the memory file, its transactions, and SQLite's errors turned into advice."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from memory.schema import APPLICATION_ID, MIGRATIONS
from srs.types import UserError

CHECKED_AT_OPEN_BYTES = 16 << 20
"""Files up to this size are checked page by page when opened; in a larger one damage shows when met."""
CACHE_KIB = 64 << 10
"""A round of 1,000 tasks dirties tens of MiB; in a smaller cache each page is written several times."""
CHECKPOINT_PAGES = 4096
"""The log's length (16 MiB) at which it is copied into the file: pages that several rounds wrote go once."""

ADVICE = {
    sqlite3.SQLITE_NOTADB: "not a memory file (SQLite): move it away or use a new run directory",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a copy or use a new run directory",
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then run again with --resume",
    sqlite3.SQLITE_READONLY: "read-only: make the file and its folder writable, then run again",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that its folder exists and is writable",
    sqlite3.SQLITE_IOERR: "the disk failed while reading or writing: check it, then --resume",
    sqlite3.SQLITE_BUSY: "in use by another process: wait for it or end it, then run again",
    sqlite3.SQLITE_PERM: "no permission: make the file and its folder writable, then run again",
}


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the file, with the newest schema. Raises UserError; nothing is ever erased."""
    with explained(path):
        db = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            _prepare(path, db)
        except BaseException:
            db.close()
            raise
    return db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing file to read, beside a writer if there is one. Nothing is migrated.

    Raises UserError, also for an older schema: only a writer may bring it up to date.
    """
    if not path.is_file():
        raise UserError(f"{path}: no memory file here; name a run directory or a memory file")
    with explained(path):
        db = sqlite3.connect(_uri(path), timeout=10, isolation_level=None, uri=True)
        try:
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            version = _known_version(path, db)
            if version < len(MIGRATIONS):
                raise UserError(
                    f"{path}: written by an older version (schema {version}, this one reads "
                    f"{len(MIGRATIONS)}): resume the run once, which brings it up to date"
                )
        except BaseException:
            db.close()
            raise
    return db


@contextlib.contextmanager
def committed(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of the body's writes, or none when it raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite itself rolls back after some errors, such as a full disk
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """The boundary where SQLite's errors about a file or disk become UserError; others pass through."""
    try:
        yield
    except sqlite3.Error as e:
        advice = ADVICE.get(getattr(e, "sqlite_errorcode", 0) & 0xFF)  # the low byte: primary code
        if advice is None:
            raise
        raise UserError(f"{path}: {advice} ({e})") from e


def _uri(path: Path) -> str:
    """Read-only; where no log is and none can be made, the file alone, which then nobody writes."""
    uri = path.absolute().as_uri() + "?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
        try:
            db.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError as e:
            log = path.with_name(path.name + "-wal")
            no_log = e.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if no_log and not (log.exists() and log.stat().st_size):
                return uri + "&immutable=1"
            raise
    return uri


def _prepare(path: Path, db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute("PRAGMA foreign_keys = OFF")  # until migrated: a migration may replace tables
    version = _known_version(path, db)
    if path.stat().st_size <= CHECKED_AT_OPEN_BYTES:
        (finding,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise UserError(f"{path}: {ADVICE[sqlite3.SQLITE_CORRUPT]}")
    db.execute("PRAGMA journal_mode = WAL")
    # One fsync a round: a recorded round survives power loss.
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_PAGES * 4096}")
    if version < len(MIGRATIONS):
        with committed(db):
            # Read again under the lock: another process may have just created or migrated the file.
            version, _, _ = _identity(db)
            for migrate in MIGRATIONS[version:]:
                migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.execute("PRAGMA foreign_keys = ON")


def _known_version(path: Path, db: sqlite3.Connection) -> int:
    """The file's schema. Raises UserError for another program's file and for a newer version's."""
    version, application, n_tables = _identity(db)
    if application != APPLICATION_ID and (application or version or n_tables):
        raise UserError(f"{path}: a database of another program: use a new run directory")
    if version > len(MIGRATIONS):
        raise UserError(
            f"{path}: written by a newer version (schema {version}, this one knows "
            f"{len(MIGRATIONS)}): update the program or use a new run directory"
        )
    return version


def _identity(db: sqlite3.Connection) -> tuple[int, int, int]:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (n_tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return version, application, n_tables
