"""From events to what an analysis rests on: what each unit amounts to, and from that the counts and moments."""
