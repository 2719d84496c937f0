"""What may go where, who said so, and the proof."""
