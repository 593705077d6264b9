// SPDX-License-Identifier: GPL-2.0-only
/*
 * First process of the VM. It mounts what a command expects, runs the command that scripts/vm left in /etc/vm/command, and reports on
 * virtio-serial ports. It is not a shell script because it has to reap orphans, and because it starts faster.
 *
 * With vm_init= on the kernel's command line it makes way for that program, which mounts for itself and starts this one again as a service.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KMEMLEAK "/sys/kernel/debug/kmemleak"
/* kmemleak reports no object younger than five seconds. */
#define KMEMLEAK_AGE_SEC 6

/* How long a process may take to die of SIGKILL, on the slowest lane. */
#define LAST_BREATH_SEC 60

/* The ports of the first virtio device, numbered as in scripts/vm. */
#define PORT_OUT "/dev/vport0p1"
#define PORT_ERR "/dev/vport0p2"
#define PORT_CONTROL "/dev/vport0p3"
#define PORT_KERNEL_LOG "/dev/vport0p4"
#define PORT_FILES "/dev/vport0p5"

static int control = -1;

static void __attribute__((noreturn)) stop(void)
{
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(control >= 0 ? control : STDERR_FILENO, "fail %s\n", text);
	stop();
}

static const struct {
	const char *source, *target, *type, *options;
} mounts[] = {
	{ "proc", "/proc", "proc", NULL },
	{ "sysfs", "/sys", "sysfs", NULL },
	{ "devtmpfs", "/dev", "devtmpfs", NULL },
	{ "devpts", "/dev/pts", "devpts", "mode=0620,ptmxmode=0666" },
	{ "shm", "/dev/shm", "tmpfs", "mode=1777" },
	{ "mqueue", "/dev/mqueue", "mqueue", NULL },
	{ "run", "/run", "tmpfs", "mode=0755" },
	{ "tmp", "/tmp", "tmpfs", "mode=1777" },
	/* The options systemd mounts it with. */
	{ "cgroup2", "/sys/fs/cgroup", "cgroup2", "nsdelegate,memory_recursiveprot" },
	{ "debugfs", "/sys/kernel/debug", "debugfs", NULL },
	{ "tracefs", "/sys/kernel/tracing", "tracefs", NULL },
};

static void mount_all(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].target, 0755);
		/* A kernel without a file system is for its command to find wanting. */
		if (mount(mounts[i].source, mounts[i].target, mounts[i].type, 0, mounts[i].options) && errno != ENODEV)
			die("the guest could not mount %s: %s", mounts[i].target, strerror(errno));
	}
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	symlink("/proc/mounts", "/etc/mtab");
}

/* The checkout, if the host serves it; files in it do not change while a command runs. */
static void mount_checkout(void)
{
	if (mount("src", "/src", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=262144,cache=loose") && errno != ENOENT)
		die("the guest could not mount /src: %s", strerror(errno));
}

/* A container's pivot_root() needs a root that has a parent mount; the initramfs has none. */
static void give_root_a_parent(void)
{
	if (mount("/", "/mnt", NULL, MS_BIND, NULL) || chdir("/mnt") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") ||
	    chdir("/"))
		die("the guest could not set up its root: %s", strerror(errno));
}

static void loopback_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo))
		die("the guest could not bring up its loopback device: %s", strerror(errno));
	close(fd);
}

/* The driver adds its ports from a worker, maybe after init has started. */
static int port(const char *path)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

	for (int tries = 0; tries < 1000; tries++) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd >= 0)
			return fd;
		if (errno != ENOENT && errno != ENXIO && errno != ENODEV)
			break;
		nanosleep(&pause, NULL);
	}
	die("the guest could not open %s: %s", path, strerror(errno));
}

/* What a pipe holds at the moment goes to a port; false at its end. */
static bool relay(int pipe, int to)
{
	char buffer[65536];
	ssize_t n = read(pipe, buffer, sizeof(buffer));

	for (ssize_t done = 0, written; done < n; done += written) {
		written = write(to, buffer + done, n - done);
		if (written < 0)
			die("the guest could not send output: %s", strerror(errno));
	}
	return n > 0;
}

/*
 * Runs a program to its end and returns the status a shell would show. Its output passes through pipes: unlike a port, a pipe can be
 * opened again as /dev/stdout. What it leaves behind is killed.
 */
static int run(char *const argv[], int out, int err)
{
	int pipes[2][2], to[2] = { out, err }, status = -1;
	struct pollfd fds[3];
	sigset_t chld;
	pid_t child;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (pipe2(pipes[0], O_CLOEXEC) || pipe2(pipes[1], O_CLOEXEC) || sigprocmask(SIG_BLOCK, &chld, NULL))
		die("the guest could not make a pipe: %s", strerror(errno));
	child = fork();
	if (child < 0)
		die("the guest could not fork: %s", strerror(errno));
	if (!child) {
		setsid();
		sigprocmask(SIG_UNBLOCK, &chld, NULL);
		if (dup2(open("/dev/null", O_RDONLY), STDIN_FILENO) < 0 || dup2(pipes[0][1], STDOUT_FILENO) < 0 ||
		    dup2(pipes[1][1], STDERR_FILENO) < 0)
			_exit(126);
		execvp(argv[0], argv);
		_exit(127);
	}
	for (int i = 0; i < 2; i++) {
		close(pipes[i][1]);
		fds[i] = (struct pollfd){ .fd = pipes[i][0], .events = POLLIN };
	}
	fds[2] = (struct pollfd){ .fd = signalfd(-1, &chld, SFD_CLOEXEC), .events = POLLIN };

	while (status < 0 || fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (!poll(fds, 3, status < 0 ? -1 : LAST_BREATH_SEC * 1000))
			die("a process that the command left behind does not die");
		for (int i = 0; i < 2; i++) {
			if (fds[i].revents && !relay(fds[i].fd, to[i])) {
				close(fds[i].fd);
				fds[i].fd = -1;
			}
		}
		if (fds[2].revents) {
			struct signalfd_siginfo info;
			int how;
			pid_t pid;

			if (read(fds[2].fd, &info, sizeof(info)) < 0)
				die("the guest lost its command: %s", strerror(errno));
			/* Orphans are reaped too. */
			while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
				if (pid != child)
					continue;
				status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
				kill(-1, SIGKILL);
			}
		}
	}
	close(fds[2].fd);
	return status;
}

/* Starts the command at this second of uptime. */
static void wait_until(const char *start)
{
	const struct timespec at = { .tv_sec = atoi(start) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static void copy(const char *path, int to)
{
	char buffer[4096];
	int from = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, n) != n)
			break;
	close(from);
}

static void scan_for_leaks(int log)
{
	for (int i = 0; i < 2; i++) {
		int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			return; /* not built in */
		if (i)
			sleep(KMEMLEAK_AGE_SEC);
		if (write(fd, "scan", 4) != 4)
			die("the guest could not scan for leaks: %s", strerror(errno));
		close(fd);
	}
	copy(KMEMLEAK, log);
}

static void kernel_log(int to)
{
	int size = klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0);
	char *text = size > 0 ? malloc(size) : NULL;
	int length = text ? klogctl(3 /* SYSLOG_ACTION_READ_ALL */, text, size) : -1;

	for (int done = 0, n; done < length; done += n) {
		n = write(to, text + done, length - done);
		if (n <= 0)
			die("the guest could not write its kernel log: %s", strerror(errno));
	}
	if (length <= 0)
		die("the guest could not read its kernel log");
}

int main(void)
{
	char *const command[] = { "/bin/sh", "/etc/vm/command", NULL };
	char *const archive[] = { "tar", "-C", "/out", "-cf", "-", ".", NULL };
	const char *start = getenv("vm_start"), *other = getenv("vm_init");
	const bool first = getpid() == 1;
	int out, err, log, status;

	umask(0022);
	if (first) {
		give_root_a_parent();
		if (other) {
			execl(other, other, NULL);
			die("the guest could not start %s: %s", other, strerror(errno));
		}
		mount_all();
	}
	mount_checkout();
	control = port(PORT_CONTROL);
	out = port(PORT_OUT);
	err = port(PORT_ERR);
	log = port(PORT_KERNEL_LOG);
	if (first) {
		loopback_up();
		sethostname("dlgroup", 7);
	}
	if (start)
		wait_until(start);

	dprintf(control, "start\n");
	status = run(command, out, err);
	scan_for_leaks(log);
	kernel_log(log);
	if (run(archive, port(PORT_FILES), err))
		die("the guest could not send the files in /out");
	dprintf(control, "exit %d\nend\n", status);
	stop();
}
