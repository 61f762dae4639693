"""webcam-ml: from star ratings of webcam snapshots to an ONNX scorer that goes live on evidence.

Read the packages in the order in which data flows: `labels`, `dataset`, `model`, `evaluation`,
`export`, `disagreement`. `scoring` is the runtime, `artifacts` the versioned store,
`orchestration` the only package that knows Dagster, `demo` draws webcams to try it all on.
"""
