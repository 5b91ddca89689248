"""Many models on many data sets: suites, cross, sweeps, folds."""
