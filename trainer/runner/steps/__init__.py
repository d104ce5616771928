"""The steps that children do, a module each: what one needs is not loaded for the others."""
