"""Clustering that only says what it was given."""

import sys

import config
from facesets.common import terminal
from facesets.formats import cache

user = sys.argv[sys.argv.index("--user") + 1]
found = cache.read(config.load(config.Paths).cache(user))
terminal.say(f"on the engine {config.load(config.Engine).scheduler!r}")
terminal.say(f"clustered {len(found.faces)} faces of {user}")
