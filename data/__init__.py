"""From sources to device-ready batches: corpora, token store, layouts, curriculum, pipeline."""
