"""From the label database to labelled snapshots.

`LabelDatabase` opens the application's database, `LabelQuery` says whose ratings count, and
`read_labels` makes `Labels` of them. `read_label_values` reads only what decides a label, and
`label_growth` and `decide` find whether the labels have grown enough for a retrain. Scores that the
application stored are read by `read_inferences` and `read_served`, those of a candidate written by
`record_inferences`. Targets, splits and manifests belong in `dataset`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
