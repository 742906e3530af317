"""What the counts leave open: solutions that explain them equally well, and how far these are apart."""
