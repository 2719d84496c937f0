"""The rules for a whole definition, by concern. `pipelines.flow.check` runs them all."""
