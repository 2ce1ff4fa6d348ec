"""``python -m clew.cli``."""

from clew.cli.main import main

main()
