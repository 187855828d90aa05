"""Words that every script needs: errors, files, paths, the terminal."""
