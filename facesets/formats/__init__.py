"""What the scripts hand to each other, one writer each."""
