"""The command line: each command is parse, call, print."""
