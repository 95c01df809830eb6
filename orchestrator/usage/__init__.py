"""What one call used, in one meaning for all providers.

`input_tokens` are those that were neither read from nor written to a cache, `reasoning_tokens` are a part of
`output_tokens`. `read_usage` reads a provider's object, `given_usage` the caller's own numbers; neither ever raises.
"""

from orchestrator.usage.counts import Usage, estimate_tokens, given_usage
from orchestrator.usage.reading import read_usage

__all__ = ["Usage", "estimate_tokens", "given_usage", "read_usage"]
