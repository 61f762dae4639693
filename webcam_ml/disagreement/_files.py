"""Names of the files of a disagreement report, for whoever needs no more than the names."""

REPORT_FILE = "disagreement_report.json"
TABLE_FILE = "disagreement_report.csv"
QUEUE_FILE = "relabel_queue.csv"
GALLERY_FILE = "gallery.html"
