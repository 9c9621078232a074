"""What SQLite says it will read, for the tests that nothing reads a table from end to end."""

import re
import sqlite3


def whole_scans(db: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of a statement's plan that read all cards or all reviews, in the table or in an index.

    An index with a WHERE of its own holds just the rows that are wanted, such as the new tasks, so that
    reading along it is no such step.
    """
    partial = {
        name
        for name, made_by in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
        if made_by and re.search(r"\bWHERE\b", made_by)
    }
    found = []
    for *_, step in db.execute(f"EXPLAIN QUERY PLAN {sql}"):
        scanned = re.match(r"SCAN (cards|reviews)\b(.* INDEX (\w+))?", step)
        if scanned and scanned[3] not in partial:
            found.append(step)
    return found
