"""The command line: ``clew solve``, ``clew check``, ``clew trace``."""

from clew.cli.main import main

__all__ = ["main"]
