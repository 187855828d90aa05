"""Clustering that only says what it was given."""

import sys

import config
from facesets.formats import cache

user = sys.argv[sys.argv.index("--user") + 1]
found = cache.read(config.load(config.Paths).cache(user))
print(f"clustered {len(found.faces)} faces of {user}", file=sys.stderr)
