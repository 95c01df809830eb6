"""The lock under which modules are imported on first use, and what else has to be at rest while this process forks.

Python's own lock of a module outlives a fork: a child that is made while another thread imports one would wait for it for ever. And
Python asks those who had registered for a fork when it began: a module that a thread was importing then would come too late. So our
hook stands for all of them: it first waits until nobody imports and then asks who is there.

A fork takes this lock and then waits for who is using a file. So nobody asks for it inside of a `read` or a `write`; what is imported
there is safe without it.
"""

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

_FORK_SECONDS = 5.0


@dataclass(frozen=True)
class _Guard:
    """What somebody does before a fork, and after it in the parent and in the child."""

    before: Callable[[], None] | None
    after_in_parent: Callable[[], None] | None
    after_in_child: Callable[[], None]


class _Fork(threading.local):
    """The fork that this thread is about: how many of our hooks have begun it and not ended it, and who was there then."""

    hooks = 0
    guards: tuple[_Guard, ...] = ()


_lock = threading.RLock()
_guards: list[_Guard] = []
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
    _guards.append(_Guard(before, after_in_parent, after_in_child))


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
    _fork.guards = ()
    _lock.acquire(timeout=_FORK_SECONDS)
    _fork.guards = tuple(_guards)
    _call(guard.before for guard in reversed(_fork.guards))


def _after_fork_in_parent() -> None:
    if not _ended():
        return
    try:
        _call(guard.after_in_parent for guard in _fork.guards)
    finally:
        # Not ours where we have waited in vain.
        with suppress(RuntimeError):
            _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    if not _ended():
        return
    _lock = threading.RLock()
    _call(guard.after_in_child for guard in tuple(_guards))


def _call(callbacks: Iterable[Callable[[], None] | None]) -> None:
    """Call each of them, also after one has failed, and raise what the first raised: Python prints it and forks all the same."""
    fault: BaseException | None = None
    for callback in callbacks:
        try:
            if callback is not None:
                callback()
        except BaseException as error:  # noqa: BLE001 - a signal's too
            fault = fault or error
    if fault is not None:
        raise fault


def _ended() -> bool:
    """Return whether the last of our hooks that began this fork ends it now. A thread may have added one in between."""
    if _fork.hooks == 0:
        return False
    _fork.hooks -= 1
    return _fork.hooks == 0


guard_forks()
