"""Ledger: for each table a row type, its INSERT and its plainest SELECT."""
