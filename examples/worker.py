#!/usr/bin/env python3
"""A worker in Python: claims executions of a lane, works, completes them, waits for more.

    worker.py LANE [LEASE]      LEASE in seconds, 30 by default

libpq's variables (PGHOST, PGDATABASE, …) lead to the database. SIGTERM lets the work in hand end.
Needs psycopg 3: apt-get install python3-psycopg, or pip install 'psycopg[binary]'.
"""
import os
import signal
import socket
import sys
import threading
import time

import psycopg
from psycopg.rows import namedtuple_row

LANE = sys.argv[1]
LEASE = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
INSTANCE = f"{socket.gethostname()}-{os.getpid()}"
# The lease is over: the execution is purged, ended, with another worker, or free again.
LOST = {"FF001", "FF210", "FF401", "FF402", "FF403"}


def work(kind, payload):
    """Yours. What it returns is the result, what it raises fails the attempt."""
    if kind == "shout":
        return payload.upper()
    if kind == "sleep":
        time.sleep(float(payload))
        return b"slept"
    raise ValueError(f"no idea how to {kind}")


class Renewal(threading.Thread):
    """Renews a lease while the work goes on, over a connection that is opened only for long work."""

    def __init__(self, handle):
        super().__init__(daemon=True)
        self.handle, self.over = handle, threading.Event()

    def run(self):
        if not self.over.wait(LEASE / 3):
            with psycopg.connect(autocommit=True) as connection:
                try:
                    while not self.over.is_set():
                        connection.execute("SELECT ff_renew(%s)", [self.handle])
                        self.over.wait(LEASE / 3)
                except psycopg.Error as error:  # lost: completing will say so too
                    print(error, file=sys.stderr)

    def __enter__(self):
        self.start()

    def __exit__(self, *_):
        self.over.set()


def perform(connection, job):
    try:
        try:
            with Renewal(job.handle):
                result = work(job.kind, job.payload)
        except Exception as error:
            connection.execute("SELECT ff_fail(%s, %s)", [job.handle, str(error)])
        else:
            with connection.transaction():
                # Writes of your own, here, commit together with the completion or not at all.
                connection.execute("SELECT ff_complete(%s, %s)", [job.handle, result])
    except psycopg.Error as error:
        if error.sqlstate not in LOST:
            raise
        print(f"{job.execution_id} has been taken away: {error}", file=sys.stderr)


def main():
    stopping = waiting = False

    def stop(*_):
        nonlocal stopping
        stopping = True
        if waiting:
            connection.cancel()
            connection.close()
            sys.exit()

    with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
        signal.signal(signal.SIGTERM, stop)
        while not stopping:
            claim = "SELECT * FROM ff_claim(%s, 'example', %s, lease_ttl => %s)"
            job = connection.execute(claim, [LANE, INSTANCE, f"{LEASE} s"]).fetchone()
            if job:
                perform(connection, job)
                continue
            waiting = True
            if not stopping:
                connection.execute("CALL ff_wait_for_work(%s, '30 s')", [LANE])
            waiting = False


main()
