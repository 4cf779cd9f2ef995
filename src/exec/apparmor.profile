# What podspec confines a container by whose file names no profile, where the kernel has AppArmor: everything, but for
# mounts, what of /proc and /sys is the machine's, and processes outside. A second wall behind capabilities, the filter
# of system calls and masks, as podman's and docker's default profiles are. apparmor.d(5) has the language.
profile podspec-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,

  # Whoever is not confined, and the runtimes of the machine, may end it; processes of containers one another.
  signal (receive) peer=unconfined,
  signal (receive) peer=crun,
  signal (receive) peer=runc,
  signal (send, receive) peer=podspec-default,
  ptrace (trace, read, tracedby, readby) peer=podspec-default,

  deny mount,

  # Files right in /proc, and directories of it but /proc/PID and /proc/sys.
  deny /proc/* w,
  deny /proc/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  # Of /proc/sys nothing but kernel/shm*, which is of the ipc namespace.
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  # Of /sys nothing but fs/cgroup.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
