"""What was built: pipelines in Flow YAML, their runs, artifacts and the bytes behind them."""
