"""Who is who: exact average linkage, matching with known identities, and the proposal of new facesets."""
