"""The lock under which modules are imported on first use, so that no process forks in the middle of it.

Python's own lock of a module outlives a fork: a child that is made while another thread imports one would wait for it for ever.
"""

import os
import threading
from contextlib import suppress

_FORK_SECONDS = 5.0

_lock = threading.RLock()


def loading() -> threading.RLock:
    """Return the lock to hold while something is imported that another thread may be importing too."""
    return _lock


def guard_forks() -> None:
    """Take the lock before whatever else is taken for a fork by those who have asked for that already.

    So it has to be asked for again after logging is imported: who imports wants logging's lock, and would wait for the fork, and it for
    them.
    """
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _before_fork() -> None:
    _lock.acquire(timeout=_FORK_SECONDS)


def _after_fork_in_parent() -> None:
    # Not ours where we have waited in vain.
    with suppress(RuntimeError):
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()


guard_forks()
