"""What each part of the story takes from its analysis's tables. Every number of the page is made here."""
