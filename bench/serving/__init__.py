"""Serves a policy of ours to other people's clients.

batches.py       who waits for a decision; one thread decides for all that wait
translation.py   a client's request as an observation, a chunk as its reply
websocket.py     the connections: openpi's and vla-eval's protocols, and the health routes
"""
