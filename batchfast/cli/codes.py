"""Exit codes: what a script or a cron line learns from a command."""

DONE, ERROR, USAGE, NOT_READY, INTERRUPTED = 0, 1, 2, 3, 130
