"""Values at points of weight space: objectives and evaluators."""
