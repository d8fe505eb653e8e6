"""One awa worker with a no-op handler.    python -m ffbench.drains.awa {install | fill JOBS | drain JOBS CONCURRENCY}

`install` also starts a worker once, on the empty database: only then does a new one move from awa's legacy
engine to its fast one.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass

import awa

QUEUE = "bench"
SETTLE_SECONDS = 3


@dataclass
class Noop:
    data: str


class Counter:
    """Counts the handler's calls and tells when all have come."""

    def __init__(self, jobs: int):
        self.left = jobs
        self.all_done = asyncio.Event()

    def count(self):
        self.left -= 1
        if self.left == 0:
            self.all_done.set()


def worker(client: awa.AsyncClient, counter: Counter):
    @client.task(Noop, queue=QUEUE)
    async def handle(job):
        counter.count()


async def install(client: awa.AsyncClient):
    await client.migrate()
    worker(client, Counter(0))
    await client.start([(QUEUE, 1)])
    await asyncio.sleep(SETTLE_SECONDS)
    await client.shutdown()


async def fill(client: awa.AsyncClient, jobs: int):
    await client.enqueue_many_copy([Noop("m" * 244)] * jobs, queue=QUEUE)


async def drain(client: awa.AsyncClient, jobs: int, concurrency: int):
    counter = Counter(jobs)
    worker(client, counter)
    started = time.perf_counter()
    await client.start([(QUEUE, concurrency)])
    await counter.all_done.wait()
    await client.shutdown()
    print(json.dumps({"seconds": time.perf_counter() - started}))


async def main(verb: str, *numbers: str):
    verbs = {"install": install, "fill": fill, "drain": drain}
    async with awa.AsyncClient(os.environ["BENCH_DATABASE_URL"], max_connections=20) as client:
        await verbs[verb](client, *map(int, numbers))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
