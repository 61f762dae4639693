from ._command import add_compare_command
from ._labels import label_changes
from ._pages import compare_models, with_what_changed

__all__ = ["add_compare_command", "compare_models", "label_changes", "with_what_changed"]
