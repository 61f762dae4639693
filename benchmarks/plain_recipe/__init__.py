"""The plain recipe: a resnet18 fine-tuned whole with Adam, evaluated, exported; a process each.

What one writes after a tutorial, and owes nothing to `webcam_ml`: it reads the same database, asks
the same question of the same splits, starts from the same weights and ends with an ONNX file. Where
a choice was open it was made in the recipe's favour: pictures are decoded and resized once and kept
in memory, and the epoch with the best validation loss is kept.
"""
