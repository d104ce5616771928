"""The year: policies keep a model fit through 2013, from winter into summer and on."""
