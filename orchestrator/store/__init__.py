"""Store: one SQLite file, opened lazily through apsw, which is imported here and nowhere else."""
