"""One procrastinate worker with a no-op task.    python -m ffbench.drains.procrastinate CONCURRENCY"""

import asyncio
import json
import sys
import time

import procrastinate


async def drain(concurrency: int) -> float:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(min_size=concurrency, max_size=concurrency + 4))

    @app.task(name="noop")
    def noop(**_):
        """The work is not what is measured."""

    async with app.open_async():
        started = time.perf_counter()
        await app.run_worker_async(queues=["bench"], concurrency=concurrency, wait=False)
        return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(drain(int(sys.argv[1])))}))
