"""Our Kademlia DHT: pure state machines, and one asyncio adapter that drives them."""
