"""Names of services: which of them mean the same seller, and who sells a model when nobody said."""

from typing import Final

# Free text on the left, the seller on the right (for models by the name that genai-prices knows it by).
_SELLERS: Final = {
    "openai": "openai",
    "open-ai": "openai",
    "chatgpt": "openai",
    "dall-e": "openai",
    "dalle": "openai",
    "whisper": "openai",
    "anthropic": "anthropic",
    "claude": "anthropic",
    "google": "google",
    "gemini": "google",
    "google-gemini": "google",
    "google-ai": "google",
    "google-ai-studio": "google",
    "google-genai": "google",
    "gcp": "google",
    "vertex": "google",
    "vertexai": "google",
    "vertex-ai": "google",
    "google-vertex": "google",
    "openrouter": "openrouter",
    "open-router": "openrouter",
    "openrouter.ai": "openrouter",
    "mistral": "mistral",
    "mistralai": "mistral",
    "mistral-ai": "mistral",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "x-ai": "x-ai",
    "x.ai": "x-ai",
    "grok": "x-ai",
    "together": "together",
    "togetherai": "together",
    "together-ai": "together",
    "together.ai": "together",
    "fireworks": "fireworks",
    "fireworksai": "fireworks",
    "fireworks-ai": "fireworks",
    "azure": "azure",
    "azure-openai": "azure",
    "azure-ai": "azure",
    "bedrock": "aws",
    "aws-bedrock": "aws",
    "amazon-bedrock": "aws",
    "aws": "aws",
    "amazon": "aws",
    "s3": "aws",
    "aws-s3": "aws",
    "amazon-s3": "aws",
    "cohere": "cohere",
    "perplexity": "perplexity",
    "cerebras": "cerebras",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "novita": "novita",
    "novita-ai": "novita",
    "minimax": "minimax",
    "voyage": "voyageai",
    "voyageai": "voyageai",
    "voyage-ai": "voyageai",
    "zai": "zai",
    "z-ai": "zai",
    "z.ai": "zai",
    "elevenlabs": "elevenlabs",
    "eleven-labs": "elevenlabs",
    "11labs": "elevenlabs",
    "pika": "fal",
    "pika-labs": "fal",
    "pikalabs": "fal",
    "fal": "fal",
    "fal-ai": "fal",
    "fal.ai": "fal",
    "cloudflare": "cloudflare",
    "cloudflare-r2": "cloudflare",
    "r2": "cloudflare",
    "fly": "fly",
    "fly.io": "fly",
    "flyio": "fly",
}

# Only names that their maker alone sells, or sells at the same price wherever they are sold.
_MAKERS: Final = (
    ("claude-", "anthropic"),
    ("gpt-oss", None),
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("ft:gpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4-", "openai"),
    ("text-embedding-3-", "openai"),
    ("text-embedding-ada-", "openai"),
    ("tts-1", "openai"),
    ("whisper-1", "openai"),
    ("gemini-", "google"),
    ("grok-", "x-ai"),
    ("mistral-large-", "mistral"),
    ("mistral-medium-", "mistral"),
    ("codestral-", "mistral"),
    ("deepseek-chat", "deepseek"),
    ("deepseek-reasoner", "deepseek"),
    ("voyage-", "voyageai"),
)


def seller(service: str | None) -> str | None:
    """Return who sells under a service's name, None when that is free text to us."""
    return None if service is None else _SELLERS.get(_plain(service))


def is_said(service: str | None) -> bool:
    """Return whether a service names a seller at all; a gateway that passes others' models on does not."""
    return service is not None and _plain(service) not in ("", "litellm")


def maker(model: str) -> str | None:
    """Return who alone sells a model of this name, None when that cannot be told."""
    return next((who for start, who in _MAKERS if model.startswith(start)), None)


def _plain(service: str) -> str:
    return service.strip().lower().replace("_", "-").replace(" ", "-")
