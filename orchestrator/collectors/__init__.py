"""Collectors: ask a service, read its answer, return a snapshot; they never store and never raise."""
