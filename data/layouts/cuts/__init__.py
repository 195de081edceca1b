"""How documents become sequences: decompose, concatenate, pack, whole."""
