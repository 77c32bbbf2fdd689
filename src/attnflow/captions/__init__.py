"""Image captions in the manner of Show, Attend and Tell, under every paradigm of attention."""
