"""What starts a retrain by itself: the sensor, what it reads of the history, which runs are at work."""
