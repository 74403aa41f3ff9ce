"""`lsweep curvature`: the Hessian at the centre, its largest eigenpairs, trace and spectral density."""
