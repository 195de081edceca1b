"""Position schemes: one file each, named as a config names the scheme."""
