"""Methods of running a checkpoint beyond its training length: contract, registry, kinds."""
