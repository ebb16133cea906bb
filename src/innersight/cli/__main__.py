"""`python -m innersight.cli`."""

from innersight.cli import main

main()
