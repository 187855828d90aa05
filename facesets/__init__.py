"""What the scripts of face-sets share. Imports point one way: scripts -> package, and in it upwards only."""
