"""Who has it: connected peers, the DHT, and the queue that announces what we have."""
