"""What an exported model holds, and how it is loaded."""
