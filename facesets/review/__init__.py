"""The review: a page on this machine that asks what is worth asking, one thing at a time, and ends."""
