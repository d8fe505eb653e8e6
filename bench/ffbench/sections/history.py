"""P11: do ten million finished executions, kept as history, slow the claim down?"""

import time
from functools import partial

from psycopg import sql

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..results import Results
from ..rounds import measure, progress
from ..sample import paired_ratio
from ..server import Server
from ..systems import engine

YOUNG, OLD = "ffbench_history_young", "ffbench_history_old"
SEED = 50_000
BACKLOG = 100_000
LEASE_SECONDS = 30      # the default lease; what it left behind is swept when it would have run out


def run(server: Server, plan: Plan, results: Results):
    """Two databases with the same backlog, one of them with the history, run alternately."""
    for database in (YOUNG, OLD):
        engine.install(server, plan, database)
    started = time.monotonic()
    progress(f"seeding a history of {plan.history:,}")
    seed(server, plan, OLD)
    progress(f"the history took {time.monotonic() - started:,.0f} s")
    young = _side(server, plan, YOUNG, "history none")
    old = _side(server, plan, OLD, f"history {plan.history:,}")
    for number in range(1, plan.rounds + 1):
        for cell in (young, old) if number % 2 else (old, young):
            measure(results, cell, f"history {number}/{plan.rounds}")
    if results.samples(young.key) and results.samples(old.key):
        decay = paired_ratio(results.samples(old.key), results.samples(young.key))
        results.note_ratio("P11", decay, results.rows[old.key])
    server.drop_database(YOUNG)
    server.drop_database(OLD)


def _side(server: Server, plan: Plan, database: str, name: str) -> Cell:
    prepare = partial(engine.fill, server, database, engine.LANE, BACKLOG)
    return Cell("ff_engine", name, plan.connections,
                partial(engine.pairs, server, plan, database, seconds=plan.seconds), prepare)


def seed(server: Server, plan: Plan, database: str):
    """A first part lives through the API; the rest are copies of its rows under other ids, table by table."""
    first = min(SEED, plan.history)
    per_client = first // (50 * plan.batch_connections)
    engine.fill(server, database, "history", first)
    pgbench.run(server, database, "engine_batch.sql", plan.batch_connections,
                calls=per_client, variables={"lane": "history"})
    _let_leases_pass(server, database)
    with server.connect(database) as connection:
        for table, columns in _history_tables(connection).items():
            connection.execute(_originals(table, columns))
            for copy in range(1, plan.history // first):
                connection.execute(_copy(table, columns, copy))
            connection.execute("DROP TABLE original")
            progress(f"history: {table} done")
    server.vacuum(database)


def _let_leases_pass(server: Server, database: str):
    """History has no pending work in it: lets the background finish with the first part before it is copied."""
    time.sleep(LEASE_SECONDS + 1)
    while server.execute(database, "SELECT sum(processed) FROM ff_tick()") != [(0,)]:
        time.sleep(0.1)


def _history_tables(connection) -> dict[str, list[str]]:
    """The storage tables that keep rows per finished execution, with the columns to be copied.
    Columns that a sequence fills are left to it."""
    return dict(connection.execute("""
        SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position)
        FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = 'ff_engine' AND table_type = 'BASE TABLE'
          AND is_generated = 'NEVER' AND is_identity = 'NO' AND coalesce(column_default, '') NOT LIKE 'nextval(%'
        GROUP BY table_name HAVING bool_or(column_name = 'execution_id')""").fetchall())


def _originals(table: str, columns: list[str]) -> sql.Composed:
    return sql.SQL("CREATE TEMP TABLE original AS SELECT {} FROM ff_engine.{} ORDER BY execution_id").format(
        _names(columns), sql.Identifier(table))


def _copy(table: str, columns: list[str], copy: int) -> sql.Composed:
    """Inserts the originals once more. The copy's number in the last four digits of the id keeps a copy beside
    its original in every index, as executions of one time are; the odd id that has those digits is passed over."""
    other_id = sql.SQL("overlay(execution_id::text placing {} from 33)::uuid").format(sql.Literal(f"{copy:04x}"))
    values = [other_id if name == "execution_id" else sql.Identifier(name) for name in columns]
    return sql.SQL("INSERT INTO ff_engine.{} ({}) SELECT {} FROM original ON CONFLICT DO NOTHING").format(
        sql.Identifier(table), _names(columns), sql.SQL(", ").join(values))


def _names(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
