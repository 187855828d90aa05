"""The demo: a sample library, and the whole chain over it. Nothing here runs in a real run."""
