"""Principal components: the scaled moments of the photons and their eigenvectors."""
