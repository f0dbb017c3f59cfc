"""Measurements, and what breaks on purpose; nothing imports this."""
