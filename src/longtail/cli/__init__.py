"""The command line: parse, call, print."""

from longtail.cli.app import main

__all__ = ["main"]
