"""Keeps market streams alive, makes every message durable, serves them to SQL and plays them back."""

__version__ = "0.1.0"
