"""Measurements of the library's claims; each script's results are rows of a table.

Run them with ``python -m benchmarks``; README.md beside this file says how.
"""
