"""A drone swarm: each drone perceives, decides and agrees with its peers on board; nobody leads."""
