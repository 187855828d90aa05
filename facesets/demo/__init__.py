"""A local server that speaks Immich's protocol, and the sample library of the demo. Nothing here runs in a real run."""
