"""The bridge to the other side of a WSL machine."""
