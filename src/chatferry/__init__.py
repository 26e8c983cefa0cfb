"""Chatferry: language models in the chat apps people already use, and no message lost."""

__version__ = "0.1.0"
