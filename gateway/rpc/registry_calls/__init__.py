"""The registry's calls, by what they are about; `registry_service` puts them together."""
