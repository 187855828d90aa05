"""The local server that speaks Immich's protocol, for the demo and the tests."""
