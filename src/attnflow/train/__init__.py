"""Training of real networks under every paradigm: losses, networks, tasks, training, evaluation."""
