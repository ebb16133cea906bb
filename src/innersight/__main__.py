"""`python -m innersight`."""

from innersight.cli import main

main()
