"""The only package that imports Dagster: assets, checks, config, io manager, resources, jobs."""
