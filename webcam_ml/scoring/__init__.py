"""The runtime: from an image to a score, with numpy, Pillow and onnxruntime only."""
