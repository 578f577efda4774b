"""Islands that train apart and exchange rarely over wide links: DiLoCo."""
