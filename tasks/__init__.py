"""One step each: an edge and a rule."""
