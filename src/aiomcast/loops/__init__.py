"""Who wakes the reading: an event loop that watches descriptors, or the loop's own transport."""
