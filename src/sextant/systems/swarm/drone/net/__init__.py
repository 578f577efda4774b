"""The perception net as it is shipped, and the script that makes it anew."""
