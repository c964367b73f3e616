"""One policy for all workers of a machine: decisions are made together, in a process of their own.

    client.py    the policy as a worker sees it
    node.py      which servers this machine has; starts, finds and replaces them
    server.py    the process that holds the policy
    watch.py     ends a server that is stuck when all its workers have gone
    decisions.py who waits for a decision, and who is decided for together
    exchange.py  how observations and chunks travel

A worker's process finds the servers of its run in a folder of this machine; the first one there starts
a server, so every node of a cluster has its own, whichever way workers are placed. Observations lie in
memory that one worker shares with its server, small messages go through a Unix socket, and a server ends
when nobody is left who could ask it.
"""
