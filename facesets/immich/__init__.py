"""Everything that knows how Immich answers: its routes, its paging, its face boxes, its checksums."""
