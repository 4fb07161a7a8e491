"""The timing tables: sessions, timed answers and blocks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields

from zoomgap.records import TimedAnswer, TimedBlock, TimingMode, TimingSession
from zoomgap.storage import rows
from zoomgap.storage.session import IGNORE, Session, insert


class TimingTables(Session):
    """What was timed is stored as soon as it is there: an interruption loses only what is under way."""

    def start_timing_session(self, session: TimingSession) -> None:
        """Its benchmark and runs must be stored."""
        read = {field.name: getattr(session, field.name) for field in fields(TimingSession)}
        written = {name: rows.to_json(read[name]) for name in ("runs", "circumstances")}
        self._insert("timing_sessions", [rows.columns(**{**read, **written})], IGNORE)

    def end_timing_session(self, id: str) -> None:
        with self._write() as connection:
            connection.execute("UPDATE timing_sessions SET ended = ? WHERE id = ?", (rows.now(), id))

    def add_timings(self, answers: Iterable[TimedAnswer], block: TimedBlock | None = None) -> None:
        """Timed answers, and the block that they made up, all or nothing."""
        found = [rows.columns(**asdict(answer)) for answer in answers]
        with self._write() as connection:
            if found:
                insert(connection, "timings", found, IGNORE)
            if block:
                insert(connection, "timing_blocks", [rows.columns(**asdict(block))], IGNORE)

    def timing_sessions(self, mode: TimingMode | None = None) -> list[TimingSession]:
        """Oldest first."""
        found = self._all("SELECT * FROM timing_sessions WHERE ?1 IS NULL OR mode = ?1 ORDER BY rowid", mode)
        return [
            rows.picked(
                TimingSession, row, runs=json.loads(row["runs"]), circumstances=json.loads(row["circumstances"])
            )
            for row in found
        ]

    def timings(self, session: str) -> list[TimedAnswer]:
        """In the order in which they were stored."""
        return [
            rows.picked(TimedAnswer, row)
            for row in self._all("SELECT * FROM timings WHERE session = ? ORDER BY rowid", session)
        ]

    def timing_blocks(self, session: str) -> list[TimedBlock]:
        """In the order in which they were stored."""
        return [
            rows.picked(TimedBlock, row)
            for row in self._all("SELECT * FROM timing_blocks WHERE session = ? ORDER BY rowid", session)
        ]
