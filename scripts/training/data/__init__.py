"""From the files to typed, checked, split rows."""
