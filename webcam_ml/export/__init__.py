"""From a checkpoint to one ONNX file with preprocessing inside, and the proof that it agrees."""
