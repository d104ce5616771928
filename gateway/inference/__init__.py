"""The generated code of the Open Inference Protocol; for server processes only."""
