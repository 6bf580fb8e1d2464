"""`python -m batchfast` is the command line."""

from batchfast.cli import main

main()
