"""One drone: what it makes of its own readings and its peers' words, each tick anew."""
