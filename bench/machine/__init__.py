"""What this machine can do, and the command that mends what it lacks.

checks.py   what every evaluation needs, looked at one by one
doctor.py   all checks together, as a table
"""
