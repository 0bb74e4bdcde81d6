"""What commands do on a Kubernetes cluster; nothing here draws, and nothing here knows the command line.

options     the options of kubectl, and when a command means a cluster and not this host
reach       from the options to an API client, and the reads that several commands share
objects     the parts of DaemonSets, Deployments, Leases and others that only commands read
readiness   are agents and controllers up, and if not, why: from objects to words (pure)
preflight   may and can MBCAS be put on this cluster
installing  install, upgrade: the steps; waiting: until everything runs
restoring   the owners' values come back, with nobody left who moves them
agents      what each node's agent says of itself
picture     the whole cluster as `status` shows it
removing    uninstall
cgroups     which cgroup version its nodes have
explaining  what it knows of one workload; markets: what each node would clear
facts, checks, neighbours  what `doctor` asks of a cluster
completing  what may come next on a command line
"""
