"""ff_engine, driven through its public SQL functions only, at its default settings."""

from functools import partial

from .. import pgbench
from ..cell import Cell
from ..plan import Plan
from ..sample import Sample
from ..server import Server

DATABASE = "ffbench_engine"
LANE = "bench"
BATCH = 1000
CREATE_MANY = "SELECT count(*) FROM ff_create_many(%s, 'job', array_fill(%s::bytea, ARRAY[%s::int]))"


def install(server: Server, plan: Plan, database: str = DATABASE):
    server.create_database(database)
    server.execute(database, "CREATE EXTENSION ff_engine")


def ready(server: Server, database: str, lane: str) -> int:
    """How many executions of a lane wait to be claimed."""
    [(count,)] = server.execute(database, """
        SELECT coalesce(sum(executions), 0)::bigint FROM ff_count_executions(lane => %s)
        WHERE public_state = 'waiting'""", [lane])
    return count


def fill(server: Server, database: str, lane: str, backlog: int, payload: str | None = pgbench.PAYLOAD):
    """Tops a lane up to its backlog by batch creates, then sweeps."""
    missing = backlog - ready(server, database, lane)
    with server.connect(database) as connection:
        for size in [BATCH] * (missing // BATCH) + [missing % BATCH]:
            if size > 0:
                connection.execute(CREATE_MANY, [lane, payload, size])
    server.vacuum(database)


def finish_held(server: Server, database: str, connections: int):
    """Completes what the workers of a fused run still hold, so that no lease expires into a later cell."""
    server.execute(database, """
        SELECT ff_complete_many(array_agg(held.handle))
        FROM generate_series(0, %s - 1) client,
             LATERAL ff_recover_leases('w:' || client, 'w:' || client) held
        HAVING count(*) > 0""", [connections])


def pairs(server: Server, plan: Plan, database: str, lane: str = LANE, **length) -> Sample:
    """Claim and complete, two calls and two commits each, by many connections on a prepared backlog."""
    return pgbench.run(server, database, "engine_pair.sql", plan.connections, variables={"lane": lane}, **length)


def steady_pairs(server: Server, plan: Plan, database: str, lane: str = LANE, **length) -> Sample:
    """The same, each connection putting 50 new executions in by one call whenever it has taken 50 out,
    so that the backlog keeps its size however long the run."""
    return pgbench.run(server, database, "engine_steady_pair.sql", plan.connections,
                       variables={"lane": lane, "left": 0}, **length)


def cells(server: Server, plan: Plan) -> list[Cell]:
    drive = partial(pgbench.run, server, DATABASE, connections=plan.connections, variables={"lane": LANE})
    timed = partial(drive, seconds=plan.seconds)
    backlog = partial(fill, server, DATABASE, LANE, plan.backlog)
    bare = partial(fill, server, DATABASE, "bare", BATCH, None)
    sweep = partial(server.vacuum, DATABASE)
    main = [
        Cell("ff_engine", "claim+complete", plan.connections,
             partial(pairs, server, plan, DATABASE, seconds=plan.seconds), backlog),
        Cell("ff_engine", "fused", plan.connections,
             partial(timed, "engine_fused.sql", variables={"lane": LANE, "primed": 0, "handle": "none"}), backlog,
             partial(finish_held, server, DATABASE, plan.connections)),
        Cell("ff_engine", "create", plan.connections, partial(timed, "engine_create.sql"), sweep),
        Cell("ff_engine", "lifecycle, no payload", plan.connections,
             partial(timed, "engine_lifecycle_bare.sql", variables={"lane": "bare"}), bare),
    ]
    if plan.quick:
        return main
    return main + [
        Cell("ff_engine", "lifecycle", plan.connections, partial(timed, "engine_lifecycle.sql"), backlog),
        Cell("ff_engine", "create 1000", plan.connections,
             partial(drive, "engine_create_many.sql", calls=plan.create_many_calls, ops_per_call=BATCH), sweep),
        Cell("ff_engine", "batch 50", plan.batch_connections,
             partial(drive, "engine_batch.sql", connections=plan.batch_connections,
                     calls=plan.batch_calls, ops_per_call=50), backlog),
    ]
