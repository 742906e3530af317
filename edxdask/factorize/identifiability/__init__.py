"""What the counts leave open: solutions that explain them as well, and how far these are apart."""
