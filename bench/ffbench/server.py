"""The one private cluster that all systems share: a database each, and the meter over all of it."""

import os
import sys
import time
from contextlib import contextmanager

import psycopg
from psycopg import sql

from . import cpu

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Meter:
    """CPU seconds and WAL bytes of a measured stretch; filled in when the stretch ends."""

    cpu_seconds = 0.0
    wal_bytes = 0


class Server:
    """Reached through the usual libpq environment (PGHOST, PGPORT, PGUSER, PGDATABASE)."""

    def __init__(self):
        self.admin = psycopg.connect(autocommit=True, application_name="ffbench admin")
        self.postmaster = cpu.parent_of(self.admin.info.backend_pid)
        self._refuse_unless_durable()

    def _refuse_unless_durable(self):
        for name, wanted in DURABLE.items():
            if (found := self.setting(name)) != wanted:
                sys.exit(f"{name} is {found}, not {wanted}: figures without durability mean nothing")

    def setting(self, name: str) -> str:
        return self.admin.execute("SELECT current_setting(%s)", [name]).fetchone()[0]

    def drop_leftovers(self):
        """Drops what an earlier run left; a benchmark never starts on a worn database."""
        query = "SELECT datname FROM pg_database WHERE datname LIKE 'ffbench\\_%'"
        for (name,) in self.admin.execute(query).fetchall():
            self.drop_database(name)

    def create_database(self, name: str):
        self.admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def drop_database(self, name: str):
        """A drop is a checkpoint, after which every page touched is logged whole: never between cells."""
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(dbname=database, autocommit=True, application_name="ffbench")

    def execute(self, database: str, statement: str, parameters=None):
        """One statement on a connection of its own; the rows, if it has any."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def vacuum(self, database: str):
        """Every cell starts from swept tables, so that none pays for its predecessor's dead rows."""
        self.execute(database, "VACUUM (ANALYZE)")

    def environment(self, database: str) -> dict:
        """What libpq needs to reach one database, for drivers started as processes."""
        return {**os.environ, "PGDATABASE": database}

    def url(self, database: str) -> str:
        info = self.admin.info
        return f"postgresql:///{database}?host={info.host}&port={info.port}&user={info.user}"

    @contextmanager
    def measured(self, database: str):
        """Meters the whole cluster from the first statement until the driver's backends have gone."""
        meter = Meter()
        cpu_before = cpu.cluster_cpu_seconds(self.postmaster)
        wal_before = self._wal_position()
        yield meter
        self._wait_until_quiet(database)
        meter.wal_bytes = self._wal_position() - wal_before
        meter.cpu_seconds = cpu.cluster_cpu_seconds(self.postmaster) - cpu_before

    def _wal_position(self) -> int:
        return int(self.admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()[0])

    def _wait_until_quiet(self, database: str, seconds: float = 10):
        """A backend's CPU time moves to the postmaster when it is reaped; wait until that is over."""
        query = """SELECT count(*) FROM pg_stat_activity
                   WHERE datname = %s AND backend_type = 'client backend' AND application_name <> 'ffbench'"""
        deadline = time.monotonic() + seconds
        while self.admin.execute(query, [database]).fetchone()[0] and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.05)
