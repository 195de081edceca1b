"""Mesh views, parameter sharding, zig-zag columns of context parallelism."""
