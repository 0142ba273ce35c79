"""The history, the results and the dead letters as far as they are kept for looking at, in memory and capped."""
