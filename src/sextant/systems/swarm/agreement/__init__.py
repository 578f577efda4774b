"""Agreement without a chief: a mergeable map, an auction, and neighbours known by freshness."""
