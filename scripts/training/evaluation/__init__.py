"""Pure functions of arrays: metrics, resampling, diagnostics."""
