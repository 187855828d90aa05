"""What every script needs: errors, files, paths, threads, the terminal, and an engine's workers."""
