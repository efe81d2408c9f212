"""The campaign: random concurrent tasks against a real kernel, and a checker that knows what must come.

`python -m tests.campaign --seed N` runs it. The parts, each in a file of its own:

draw        operations and traffic out of a seed
world       the network namespace, addresses, limits of the system, and what it counts
sending     numbered datagrams, and when each was sent and had arrived
player      one thread: performs operations on the library, and notes what it did and what came
worker      one run, in a process of its own
history     what happened, as plain values
checker     judges a history; pure
shrink      the fewest operations that still show a violation
"""
