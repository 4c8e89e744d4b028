"""What is minimised: statistics of features, terms, their weighted sum; how near a result came."""
