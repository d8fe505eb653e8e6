#!/usr/bin/env python3
"""A worker whose refunds need an approval: it asks, lets go, and goes on when the answer is there.

    approval.py LANE [LEASE]      LEASE in seconds, 30 by default

libpq's variables (PGHOST, PGDATABASE, …) lead to the database. SIGTERM lets the work in hand end.
The answer is a signal `approved` or `rejected` to the waitpoint, from whoever was given its token.
"""

import os
import signal
import socket
import sys

import psycopg
from psycopg.rows import dict_row

LANE = sys.argv[1]
LEASE = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
INSTANCE = f"{socket.gethostname()}-{os.getpid()}"


def ask(connection, work):
    """Gives the lease back until somebody answers. Business writes would go into the same transaction."""
    with connection.transaction():
        row = connection.execute(
            """SELECT waitpoint_id, waitpoint_token
                 FROM ff_suspend(%s, ff_cond_signal('manager', 'approved', 'rejected'),
                                 reason => 'waiting_for_approval', timeout => '7 days',
                                 timeout_behavior => 'auto_resume', continuation => 'pay out')""",
            [work["handle"]],
        ).fetchone()
        # Here the waitpoint and its token would be sent to the manager, and to nobody else.
        print(f"refund {work['execution_id']} waits at {row['waitpoint_id']}", flush=True)


def answer(connection, handle):
    """The answer that woke the attempt, none if nobody gave one in time."""
    return connection.execute(
        "SELECT signal_name, source_identity FROM ff_observe_signals(%s) WHERE closer", [handle]
    ).fetchone()


def work_on(connection, work):
    context = connection.execute("SELECT * FROM ff_resume_context(%s)", [work["handle"]]).fetchone()
    if context is None:
        ask(connection, work)
        return
    given = answer(connection, work["handle"])
    if given is None:
        result = "nobody answered"
    else:
        result = f"{given['signal_name']} by {given['source_identity']}"
    connection.execute("SELECT ff_complete(%s, %s)", [work["handle"], result.encode()])
    print(f"refund {work['execution_id']}: {result}", flush=True)


def main():
    stopping = waiting = False

    def stop(*_):
        nonlocal stopping
        stopping = True
        if waiting:
            connection.cancel()
            connection.close()
            sys.exit()

    with psycopg.connect(autocommit=True, row_factory=dict_row) as connection:
        signal.signal(signal.SIGTERM, stop)
        while not stopping:
            claim = "SELECT * FROM ff_claim(%s, 'refunds', %s, lease_ttl => %s)"
            work = connection.execute(claim, [LANE, INSTANCE, f"{LEASE} s"]).fetchone()
            if work:
                work_on(connection, work)
                continue
            waiting = True
            if not stopping:
                connection.execute("CALL ff_wait_for_work(%s, '30 s')", [LANE])
            waiting = False


main()
