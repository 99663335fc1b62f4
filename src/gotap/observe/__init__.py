"""What a catalogue or a script needs at work: maps, programs, where they are attached, what comes out."""
