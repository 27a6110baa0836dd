"""What a request may ask for and cost, and what an error may say."""
