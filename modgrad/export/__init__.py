"""A TrainingStep carried elsewhere."""
