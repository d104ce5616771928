"""What the outcomes of an experiment say: from mergeable moments to a recommendation."""
