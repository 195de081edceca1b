"""Speed of data: preparing, layouts, pipeline, staging."""
