"""The benchmark of ff_engine: the floor, a hand-written queue, the engine and its peers, side by side."""
