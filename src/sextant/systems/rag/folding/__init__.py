"""Near-duplicates folded: a document that says what another says is remembered, not indexed.

Two documents are near-duplicates if the sets of their three-word shingles have a Jaccard similarity
of `FOLD_AT` or more, estimated by MinHash. One folds into another only if the same groups may read
both and their fields are equal, so that folding hides nothing from a filter or from a reader. The
first to come is kept. What is folded is kept on disk, and comes back when what it was folded into
is deleted or changes.
"""

FOLD_AT = 0.85
"""The least Jaccard similarity of three-word shingles: about one word in 25 differs."""
