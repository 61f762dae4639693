"""What every other room agrees on. The bottom of the house: it imports nothing of the project but errors."""

from webcam_ml.contracts._spreadsheet import for_spreadsheets, from_spreadsheets

__all__ = ["for_spreadsheets", "from_spreadsheets"]
