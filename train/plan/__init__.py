"""How each bucket of a config is computed on TPUs that are not here, proved by their compiler."""
