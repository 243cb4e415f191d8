"""`python -m pinhole`."""

from pinhole.cli import main

main()
