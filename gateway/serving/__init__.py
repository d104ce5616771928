"""The data plane: the serving table and the pipeline over waves."""
