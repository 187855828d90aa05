"""Many machines: the way to an existing Dask engine. Nothing of dask is imported before an address is given."""
