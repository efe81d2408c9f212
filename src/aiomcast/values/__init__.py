"""What is passed around: pure values, which know nothing but Python."""
