"""The gateway under load, against servers that do nothing: what `scripts/bench` is made of.

`servers` has the processes that are measured, `wrk` asks them, `measures` are the measurements, `page` writes
docs/performance.md.
"""
