"""What all sweeps share: roles, spans, metrics, runs as data, depths that are found, the one loop.

A sweep is a function that checks its options, says in a plan which runs there are and which
entries of the result each gives, and hands both to `loop.run_sweep`.
"""
