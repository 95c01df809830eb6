"""Economic awareness for an autonomous AI agent and its operator: earnings, spending and what is left, from one SQLite file."""
