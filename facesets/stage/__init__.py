"""Decides what is worth fetching, fetches it, keeps state.db."""
