"""The Hessian: operator, eigensolver, spectral density, and the evaluator of eigenvalues."""
