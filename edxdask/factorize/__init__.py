"""Factorizations: starts, NMF, PSNMF, PCA, spatial priors, selection of bins and ranks."""
