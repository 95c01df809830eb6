"""Attributes for whatever is recorded inside a block: whose call it is, what for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import MappingProxyType

_NONE: Mapping[str, object] = MappingProxyType({})
# A context variable: each thread starts without tags, each asyncio task with a copy of those around it.
_tags: ContextVar[Mapping[str, object]] = ContextVar("orchestrator_tags", default=_NONE)


def current() -> Mapping[str, object]:
    """Return the attributes in force here, by name; what a call says itself comes before them."""
    return _tags.get()


@contextmanager
def tagged(attributes: Mapping[str, object]) -> Iterator[None]:
    """Add attributes to those in force, until the block ends; None says nothing. `metadata` is merged key by key."""
    outer = _tags.get()
    inner = {name: value for name, value in attributes.items() if value is not None}
    ours, theirs = inner.get("metadata"), outer.get("metadata")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        inner["metadata"] = {**theirs, **ours}
    token = _tags.set({**outer, **inner})
    try:
        yield
    finally:
        # An asynchronous generator may be closed in another context than the one it began in, where there is nothing to take back.
        with suppress(ValueError):
            _tags.reset(token)
