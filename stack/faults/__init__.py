"""`make faults`: breaks a running stack on purpose, and counts the promises that did not hold."""
