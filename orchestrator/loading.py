"""The lock under which modules are imported on first use, and what else has to be at rest while this process forks.

Python's own lock of a module outlives a fork: a child that is made while another thread imports one would wait for it for ever. And
Python asks those who had registered for a fork when it began: a module that a thread was importing then would come too late. So one
hook stands for all of them, which first waits until nobody imports and then asks who is there.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress

_FORK_SECONDS = 5.0

_lock = threading.RLock()
# What to do before a fork, and after it in the parent and in the child.
_guards: list[tuple[Callable[[], None] | None, Callable[[], None] | None, Callable[[], None]]] = []


class _Fork(threading.local):
    """The fork that this thread is about: how many of our hooks have begun it and not ended it, and whom they asked."""

    hooks = 0
    asked: tuple[Callable[[], None] | None, ...] = ()


_fork = _Fork()


def loading() -> threading.RLock:
    """Return the lock to hold while something is imported that another thread may be importing too."""
    return _lock


def at_fork(
    *,
    after_in_child: Callable[[], None],
    before: Callable[[], None] | None = None,
    after_in_parent: Callable[[], None] | None = None,
) -> None:
    """Have these called around every fork: who registered last comes first before it, and last after it."""
    _guards.append((before, after_in_parent, after_in_child))


def guard_forks() -> None:
    """Come before whoever else has asked Python to be called for a fork by now.

    It has to be asked for again after logging is imported: who imports or writes wants logging's lock, and would wait for the fork,
    and it for them.
    """
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _before_fork() -> None:
    _fork.hooks += 1
    if _fork.hooks > 1:
        return
    _lock.acquire(timeout=_FORK_SECONDS)
    asked = tuple(_guards)
    _fork.asked = tuple(after_in_parent for _, after_in_parent, _ in asked)
    for before, _, _ in reversed(asked):
        if before is not None:
            before()


def _after_fork_in_parent() -> None:
    if not _ended():
        return
    for after_in_parent in _fork.asked:
        if after_in_parent is not None:
            after_in_parent()
    # Not ours where we have waited in vain.
    with suppress(RuntimeError):
        _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    if not _ended():
        return
    _lock = threading.RLock()
    for _, _, after_in_child in tuple(_guards):
        after_in_child()


def _ended() -> bool:
    """Return whether the last of our hooks that began this fork ends it now. A thread may have added one in between."""
    if _fork.hooks == 0:
        return False
    _fork.hooks -= 1
    return _fork.hooks == 0


guard_forks()
