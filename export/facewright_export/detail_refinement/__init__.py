"""The open network ``detail_refinement``: trained on synthetic people's unwrapped photos."""
