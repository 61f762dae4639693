"""webcam-ml: from star ratings of webcam snapshots to an ONNX scorer that goes live on evidence.

Read the packages in the order in which data flows: `labels`, `dataset`, `features`, `training`,
`evaluation`, `export`, `judging`, `live`, `disagreement`. `scoring` is the runtime, `store` the
versioned store, `contracts` what all of them agree on, `orchestration` the only package that knows
Dagster, `demo` draws webcams to try it all on.
"""

__version__ = "0.2.0"
