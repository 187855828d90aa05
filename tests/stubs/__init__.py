"""Programs of the other side, and a machine that has them, for tests/windows/."""
