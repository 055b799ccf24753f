"""Many LLM API keys, many providers, one dependable endpoint."""

__version__ = "0.4.0"
