"""What every script needs: errors, files, paths, the terminal, and the way to an engine of many machines."""
