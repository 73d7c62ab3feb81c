"""Learning after training: when a world keeps surprising, a small correction is fitted, checked, and kept or refused."""
