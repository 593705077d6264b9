// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads of the kernel that work for somebody: of network interfaces,
 * interrupts and virtual machines. They are moved as any task is, and served.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dl_group_test.h"

/* Newer than Debian 12. */
#ifndef VHOST_SET_FORK_FROM_OWNER
#define VHOST_SET_FORK_FROM_OWNER	_IOW(VHOST_VIRTIO, 0x84, __u8)
#endif

#define MAX_THREADS	128
#define PF_NO_SETAFFINITY	0x04000000
#define PF_KTHREAD		0x00200000

static void thread_name(pid_t pid, char *name, size_t len)
{
	char path[64];
	FILE *in;

	*name = '\0';
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	in = fopen(path, "re");
	if (!in)
		return;
	if (fgets(name, len, in))
		name[strcspn(name, "\n")] = '\0';
	fclose(in);
}

/* Flags of a task as /proc/PID/stat shows them; 0 if it has gone. */
static unsigned int thread_flags(pid_t pid)
{
	unsigned int flags = 0;
	char path[64], line[1024], *end;
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	in = fopen(path, "re");
	if (!in)
		return 0;
	if (fgets(line, sizeof(line), in)) {
		end = strrchr(line, ')');
		if (!end || sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
			flags = 0;
	}
	fclose(in);
	return flags;
}

/* Kernel threads with all of @flags and none of @without, whose names begin so. */
static int find_threads(const char *prefix, unsigned int flags, unsigned int without,
			pid_t *pids, int max)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	char name[64];
	int n = 0;

	expect(dir, "/proc: %s", strerror(errno));
	while ((e = readdir(dir)) && n < max) {
		pid_t pid = isdigit(e->d_name[0]) ? atoi(e->d_name) : 0;
		unsigned int has = pid ? thread_flags(pid) : 0;

		if ((has & (flags | PF_KTHREAD)) != (flags | PF_KTHREAD) || (has & without))
			continue;
		thread_name(pid, name, sizeof(name));
		if (!strncmp(name, prefix, strlen(prefix)))
			pids[n++] = pid;
	}
	closedir(dir);
	return n;
}

/* Where it has last run: field 39. */
static int last_cpu(pid_t pid)
{
	char path[64], buf[1024], *at;
	int field;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file_read(path, buf, sizeof(buf));
	at = strrchr(buf, ')');
	for (field = 2; at && field < 39; field++)
		at = strchr(at + 1, ' ');
	expect(at, "%s has no field 39", path);
	return atoi(at);
}

static pid_t wait_thread(const char *prefix)
{
	u64 end = now_ns() + patience(MSEC(1000));
	pid_t pid;

	while (!find_threads(prefix, 0, 0, &pid, 1)) {
		expect(now_ns() < end, "there is no kernel thread '%s'", prefix);
		sleep_ms(1);
	}
	return pid;
}

/* A new thread of the kernel can be moved once it has begun: cgroup_kthread_ready(). */
static void attach_new(const char *g, pid_t pid)
{
	u64 end = now_ns() + patience(MSEC(1000));
	int ret;

	while ((ret = g_attach(g, pid)) == -EINVAL && now_ns() < end)
		sleep_ms(1);
	expect(!ret, "thread %d cannot be moved: %s", pid, strerror(-ret));
}

/* Of threads, whose clocks are their process's alone to read. */
static u64 sum_cpu_ns(const pid_t *pids, int n)
{
	char path[64], buf[128];
	u64 sum = 0;

	while (n--) {
		snprintf(path, sizeof(path), "/proc/%d/schedstat", pids[n]);
		file_read(path, buf, sizeof(buf));
		sum += strtoull(buf, NULL, 10);
	}
	return sum;
}

/* What they are given of each period of 10 ms: less than they would use. */
static u64 budget(void)
{
	return lane_tight ? USEC(500) : MSEC(2);
}

/*
 * The threads have work: the group is charged for what they use, and they get
 * what is reserved and no more, if they would use it up.
 */
static void check_served(const char *g, const pid_t *pids, int n, u64 runtime, u64 period,
			 u64 length)
{
	u64 before = sum_cpu_ns(pids, n), charged = g_stat(g, "usage_usec"), start = now_ns();
	u64 end = start + patience(MSEC(3000)), used;

	/* Where the host disturbs they may have to pay back for long, first. */
	do {
		start = now_ns();
		sleep_ns(length);
		used = sum_cpu_ns(pids, n) - before;
	} while (!used && now_ns() < end);
	length = now_ns() - start;
	used = sum_cpu_ns(pids, n) - before;
	charged = g_stat(g, "usage_usec") - charged;
	figure(used, "used_ns");
	figure(charged * 1000, "charged_ns");
	expect(used, "they have not run");
	/* Between the two readings they run, too. */
	expect(charged * 1000 + slack_ns(USEC(200)) + used / 100 >= used &&
	       charged * 1000 <= used + slack_ns(USEC(200)) + used / 100,
	       "%llu us charged, %llu ns used", charged, used);
	if (!runtime)
		return;
	expect(used <= window_bound(runtime, period, length) + slack_ns(USEC(300)),
	       "%llu ns in %llu ns", used, length);
	expect(used >= at_least(length / period * runtime * 3 / 4), "only %llu ns in %llu ns",
	       used, length);
}

/* A member of a group that is none any more, and nobody's loss. */
static void check_home(const char *g, const pid_t *pids, int n)
{
	int i, ret;

	ret = cg_write(g_path(g, NULL), "cgroup.kill", "1");
	expect(!ret, "cgroup.kill: %s", strerror(-ret));
	sleep_ms(20);
	expect(rmdir(g_path(g, NULL)) && errno == EBUSY, "'%s' went with its threads", g);
	for (i = 0; i < n; i++) {
		expect(thread_flags(pids[i]) & PF_KTHREAD, "thread %d is gone", pids[i]);
		must(g_attach("/", pids[i]));
	}
	g_rmdir(g);
}

/* Threads of the kernel outlive a test that failed. */
static void send_home(void)
{
	pid_t pids[MAX_THREADS];
	char path[64], buf[1024];
	int n = find_threads("", 0, PF_NO_SETAFFINITY, pids, MAX_THREADS);

	while (n--) {
		snprintf(path, sizeof(path), "/proc/%d/cgroup", pids[n]);
		file_read(path, buf, sizeof(buf));
		if (strstr(buf, TOP_NAME))
			g_attach("/", pids[n]);
	}
}

/* An interface that hands what is written to it to a thread of the kernel. */
static int tap_fd = -1;
static char tap_name[IFNAMSIZ];

static const char *check_tap(void)
{
	return access("/dev/net/tun", R_OK | W_OK) ? "no /dev/net/tun: needs CONFIG_TUN" : NULL;
}

static void tap_open(short flags)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | flags };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), room = 200000;

	snprintf(tap_name, sizeof(tap_name), "dlg%d", getpid() % 100000);
	strcpy(ifr.ifr_name, tap_name);
	/* Who waits for room in it is not woken: tun_sock_write_space() looks at another flag. */
	tap_fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	expect(tap_fd >= 0 && !ioctl(tap_fd, TUNSETIFF, &ifr), "tap: %s", strerror(errno));
	/* What waits to be handed on does not pile up. */
	expect(!ioctl(tap_fd, TUNSETSNDBUF, &room), "TUNSETSNDBUF: %s", strerror(errno));
	expect(s >= 0 && !ioctl(s, SIOCGIFFLAGS, &ifr), "flags: %s", strerror(errno));
	ifr.ifr_flags |= IFF_UP;
	expect(!ioctl(s, SIOCSIFFLAGS, &ifr), "up: %s", strerror(errno));
	close(s);
}

/* To nobody, of no known protocol: received, looked at and dropped. */
static const unsigned char frame[60] = { [5] = 1, [11] = 2, [12] = 0x88, [13] = 0xb5 };

static void tap_flood(struct task_shm *shm, void *arg)
{
	(void)arg;
	while (!shm->stop)
		if (write(tap_fd, frame, sizeof(frame)) == sizeof(frame))
			shm->count++;
}

/* The same, noting the longest time that a frame took to be written. */
static void tap_send(struct task_shm *shm, void *arg)
{
	(void)arg;
	while (!shm->stop) {
		u64 start = now_ns(), length;
		bool full = write(tap_fd, frame, sizeof(frame)) < 0;

		length = now_ns() - start;
		if (length > shm->value)
			shm->value = length;
		if (full || !(++shm->count % 32))
			sleep_ns(USEC(200));
	}
}

static int set_threaded(bool on)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/net/%s/threaded", tap_name);
	return file_write(path, "%d", on);
}

/* Of the interface, in a group "net", on one CPU. */
static pid_t napi_thread(u64 runtime, u64 period)
{
	char prefix[64];
	pid_t pid;

	tap_open(IFF_NAPI);
	must(set_threaded(true));
	snprintf(prefix, sizeof(prefix), "napi/%s-", tap_name);
	pid = wait_thread(prefix);
	g_make("net");
	g_set("net", "%llu %llu", runtime / NSEC_PER_USEC, period / NSEC_PER_USEC);
	must(set_cpu(pid, cpus[0]));
	attach_new("net", pid);
	must(set_policy(pid, SCHED_FIFO, 50));
	return pid;
}

static void napi_served(void)
{
	struct task flood = { .cpu = cpus[0], .fn = tap_flood };
	pid_t pid = napi_thread(budget(), MSEC(10));

	task_start(&flood);
	wait_count(&flood, 100, MSEC(2000));
	wait_throttled("net", cpus[0]);
	check_served("net", &pid, 1, budget(), MSEC(10), MSEC(500));

	/* Its interrupts done without it for a while: it is the same, and still in. */
	must(set_threaded(false));
	must(set_threaded(true));
	check_served("net", &pid, 1, budget(), MSEC(10), MSEC(200));
	task_finish(&flood, MSEC(10));
	must(set_policy(pid, SCHED_OTHER, 0));
	check_home("net", &pid, 1);
	close(tap_fd);
}

/*
 * It polls with soft interrupts disabled. With PREEMPT_RT that is a lock of the
 * CPU, which everybody needs who sends: throttled there, it runs for who waits.
 */
static void napi_lends(void)
{
	struct task send = { .cpu = cpus[0], .policy = SCHED_FIFO, .prio = 5, .fn = tap_send };
	pid_t pid = napi_thread(MSEC(10), MSEC(500));
	u64 throttled;

	task_start(&send);
	wait_throttled("net", cpus[0]);
	throttled = g_stat("net", "nr_throttled");
	sleep_ms(4000);
	expect(g_stat("net", "nr_throttled") > throttled, "the thread was not throttled again");
	figure(send.shm->value, "longest_write_ns");
	figure(send.shm->count, "frames");
	expect(send.shm->value <= slack_ns(MSEC(5)), "a frame took %llu ns to be written",
	       (u64)send.shm->value);
	task_finish(&send, MSEC(10));
	must(set_policy(pid, SCHED_OTHER, 0));
	check_home("net", &pid, 1);
	close(tap_fd);
}

/* A queue of a guest that always has a frame to send. */
#define RING_SIZE	64

struct ring {
	struct vring_desc desc[RING_SIZE];
	union {
		struct vring_avail avail;
		char avail_bytes[sizeof(struct vring_avail) + (RING_SIZE + 1) * sizeof(__u16)];
	};
	union {
		struct vring_used used;
		char used_bytes[sizeof(struct vring_used) + RING_SIZE * sizeof(struct vring_used_elem) +
				sizeof(__u16)];
	} __attribute__((aligned(64)));
	unsigned char data[72];			/* virtio_net_hdr_v1 and the frame */
	atomic_int ready;
	pid_t owner;
	int kick;
	unsigned char fork_owner;
};

static struct ring *ring;

static const char *check_vhost(void)
{
	if (access("/dev/vhost-net", R_OK | W_OK))
		return "no /dev/vhost-net: needs CONFIG_VHOST_NET";
	return check_tap();
}

static void ring_call(int fd, unsigned long cmd, const char *name, void *arg)
{
	expect(!ioctl(fd, cmd, arg), "%s: %s", name, strerror(errno));
}

#define RING_CALL(cmd, arg)	ring_call(fd, cmd, #cmd, arg)

/* The virtual machine: its worker is born here, and inherits what this task is. */
static void vhost_owner(struct task_shm *shm, void *arg)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
	struct {
		struct vhost_memory memory;
		struct vhost_memory_region region;
	} memory = {
		.memory.nregions = 1,
		.region = {
			.guest_phys_addr = (unsigned long)ring,
			.userspace_addr = (unsigned long)ring,
			.memory_size = sizeof(*ring),
		},
	};
	/* Queue 1 is the one that sends. */
	struct vhost_vring_state number = { .index = 1, .num = RING_SIZE }, base = { .index = 1 };
	struct vhost_vring_addr addr = {
		.index = 1,
		.desc_user_addr = (unsigned long)ring->desc,
		.avail_user_addr = (unsigned long)&ring->avail,
		.used_user_addr = (unsigned long)&ring->used,
	};
	struct vhost_vring_file file = { .index = 1, .fd = ring->kick };
	struct vhost_vring_file backend = { .index = 1, .fd = tap_fd };
	u64 features = 1ULL << VHOST_NET_F_VIRTIO_NET_HDR;

	(void)arg;
	expect(fd >= 0, "/dev/vhost-net: %s", strerror(errno));
	RING_CALL(VHOST_SET_FORK_FROM_OWNER, &ring->fork_owner);
	RING_CALL(VHOST_SET_OWNER, NULL);
	RING_CALL(VHOST_SET_FEATURES, &features);
	RING_CALL(VHOST_SET_MEM_TABLE, &memory);
	RING_CALL(VHOST_SET_VRING_NUM, &number);
	RING_CALL(VHOST_SET_VRING_BASE, &base);
	RING_CALL(VHOST_SET_VRING_ADDR, &addr);
	RING_CALL(VHOST_SET_VRING_KICK, &file);
	RING_CALL(VHOST_NET_SET_BACKEND, &backend);
	ring->owner = getpid();
	ring->ready = 1;
	while (!shm->stop)
		pause();
}

static void vhost_kick(struct task_shm *shm, void *arg)
{
	volatile __u16 *used = &ring->used.idx;
	__u16 sent = 0;

	(void)arg;
	while (!shm->stop) {
		while ((__u16)(sent - *used) < RING_SIZE / 2) {
			ring->avail.ring[sent % RING_SIZE] = 0;
			atomic_thread_fence(memory_order_seq_cst);
			*(volatile __u16 *)&ring->avail.idx = ++sent;
			shm->count++;
		}
		atomic_thread_fence(memory_order_seq_cst);
		if (!(*(volatile __u16 *)&ring->used.flags & VRING_USED_F_NO_NOTIFY))
			eventfd_write(ring->kick, 1);
	}
}

static pid_t user_worker(pid_t owner)
{
	char path[64], name[64];
	struct dirent *e;
	pid_t tid = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", owner);
	dir = opendir(path);
	expect(dir, "%s: %s", path, strerror(errno));
	while (!tid && (e = readdir(dir))) {
		thread_name(atoi(e->d_name), name, sizeof(name));
		if (!strncmp(name, "vhost-", 6))
			tid = atoi(e->d_name);
	}
	closedir(dir);
	expect(tid, "task %d has no worker", owner);
	return tid;
}

static void expect_cgroup(pid_t pid, const char *g)
{
	char path[64], buf[1024];
	const char *where = strstr(g_path(g, NULL), "/" TOP_NAME);

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	file_read(path, buf, sizeof(buf));
	expect(strstr(buf, where) && strstr(buf, where)[strlen(where)] == '\n',
	       "task %d is in %s, not in %s", pid, buf, where);
}

static void vhost_served(bool fork_owner)
{
	struct task owner = { .group = "vm", .policy = SCHED_FIFO, .prio = 20, .cpu = cpus[0],
			      .fn = vhost_owner };
	struct task kick = { .cpu = cpus[0], .fn = vhost_kick };
	u64 end = now_ns() + patience(MSEC(2000));
	char name[64];
	pid_t pid;

	ring = mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(ring != MAP_FAILED, "mmap: %s", strerror(errno));
	memset(ring, 0, sizeof(*ring));
	memcpy(ring->data + 12, frame, sizeof(frame));
	ring->desc[0] = (struct vring_desc) {
		/* without VIRTIO_F_VERSION_1 the header is of ten bytes */
		.addr = (unsigned long)ring->data + 2,
		.len = 10 + sizeof(frame),
	};
	ring->kick = eventfd(0, EFD_NONBLOCK);
	ring->fork_owner = fork_owner;
	tap_open(0);
	g_make("vm");
	g_set("vm", "%llu 10000", budget() / NSEC_PER_USEC);
	task_start(&owner);
	while (!ring->ready) {
		expect(now_ns() < end && !task_reaped(&owner, 0), "no virtual machine");
		sleep_ms(1);
	}

	if (fork_owner) {
		pid = user_worker(owner.pid);
		expect(get_policy(pid) == SCHED_FIFO, "the worker is not what its owner is");
	} else {
		snprintf(name, sizeof(name), "vhost-%d", owner.pid);
		pid = wait_thread(name);
		must(set_cpu(pid, cpus[0]));
		must(set_policy(pid, SCHED_FIFO, 20));
	}
	/* It need not be moved: who makes it puts it where its owner is. */
	expect_cgroup(pid, "vm");

	task_start(&kick);
	wait_throttled("vm", cpus[0]);
	check_served("vm", &pid, 1, budget(), MSEC(10), MSEC(500));
	end = now_ns() + patience(MSEC(3000));
	while (!*(volatile __u16 *)&ring->used.idx) {
		expect(now_ns() < end, "nothing was sent");
		sleep_ms(1);
	}
	task_finish(&kick, MSEC(10));
	task_finish(&owner, MSEC(10));
	g_rmdir("vm");
	close(tap_fd);
}

static void vhost_user_worker(void)
{
	vhost_served(true);
}

static void vhost_kthread(void)
{
	vhost_served(false);
}

static const char *check_kvm(void)
{
	return access("/dev/kvm", R_OK | W_OK) ? "no /dev/kvm: needs CONFIG_KVM" : NULL;
}

/* The timer of a virtual machine is a thread of the kernel, outside of it. */
static void pit_served(void)
{
	struct kvm_pit_config config = { .flags = 0 };
	struct kvm_pit_state2 state;
	char name[64];
	int kvm, vm;
	pid_t pid;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	expect(kvm >= 0, "/dev/kvm: %s", strerror(errno));
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	expect(vm >= 0, "KVM_CREATE_VM: %s", strerror(errno));
	expect(!ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP: %s", strerror(errno));
	expect(!ioctl(vm, KVM_CREATE_PIT2, &config), "KVM_CREATE_PIT2: %s", strerror(errno));
	snprintf(name, sizeof(name), "kvm-pit/%d", getpid());
	pid = wait_thread(name);
	g_make("vm");
	g_set("vm", "500 10000");
	must(set_cpu(pid, cpus[0]));
	attach_new("vm", pid);
	must(set_policy(pid, SCHED_FIFO, 20));

	/* A rate generator at 1 kHz. */
	expect(!ioctl(vm, KVM_GET_PIT2, &state), "KVM_GET_PIT2: %s", strerror(errno));
	state.channels[0].mode = 2;
	state.channels[0].count = 1193;
	state.channels[0].count_load_time = 0;
	expect(!ioctl(vm, KVM_SET_PIT2, &state), "KVM_SET_PIT2: %s", strerror(errno));
	check_served("vm", &pid, 1, 0, 0, MSEC(500));
	check_home("vm", &pid, 1);
	close(vm);
	close(kvm);
}

static const char *check_irq(void)
{
	char buf[4096];

	file_read("/proc/cmdline", buf, sizeof(buf));
	if (access("/sys/kernel/realtime", F_OK) && !strstr(buf, "threadirqs"))
		return "interrupts have no threads: needs CONFIG_IRQ_FORCED_THREADING and threadirqs";
	return NULL;
}

/* Interrupts, whatever it is that this machine writes to. */
static void irq_noise(struct task_shm *shm, void *arg)
{
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	(void)arg;
	for (; !shm->stop; shm->count++) {
		if (write(STDOUT_FILENO, "# interrupt\n", 12) < 0 || (fd >= 0 && write(fd, "\n", 1) < 0))
			sleep_ms(1);
		sleep_ms(1);
	}
}

static void irq_served(void)
{
	struct task noise = { .cpu = ANY_CPU, .fn = irq_noise };
	pid_t pids[MAX_THREADS];
	int n = find_threads("irq/", 0, PF_NO_SETAFFINITY, pids, MAX_THREADS), i;

	expect(n, "no thread of an interrupt can be moved");
	g_make("irq");
	g_set("irq", "2000 10000");
	for (i = 0; i < n; i++) {
		must(g_attach("irq", pids[i]));
		expect(get_policy(pids[i]) == SCHED_FIFO, "thread %d is not SCHED_FIFO", pids[i]);
	}
	task_start(&noise);
	check_served("irq", pids, n, 0, 0, MSEC(500));
	task_finish(&noise, MSEC(10));
	check_home("irq", pids, n);
}

/* The mask of the interrupt that all output goes through; its thread follows it. */
static int irq_set_cpu(int irq, int cpu)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/irq/%d/smp_affinity_list", irq);
	return file_write(path, "%d", cpu);
}

static bool wait_last_cpu(pid_t pid, int cpu)
{
	u64 end = now_ns() + patience(MSEC(1000));

	while (last_cpu(pid) != cpu) {
		if (now_ns() > end)
			return false;
		sleep_ms(1);
	}
	return true;
}

/*
 * The kernel moves the thread with its interrupt and asks no cpuset. Where the
 * group has nothing it runs without, and that can be seen.
 */
static void irq_leaves_cpuset(void)
{
	struct task noise = { .cpu = ANY_CPU, .fn = irq_noise };
	pid_t pids[MAX_THREADS], pid = 0;
	int n = find_threads("irq/", 0, PF_NO_SETAFFINITY, pids, MAX_THREADS), irq = 0, i;
	u64 before[MAX_THREADS], usage, used, most = 0;
	char name[64];

	/* The one that has most to do */
	task_start(&noise);
	for (i = 0; i < n; i++)
		before[i] = sum_cpu_ns(&pids[i], 1);
	sleep_ms(100);
	for (i = 0; i < n; i++) {
		used = sum_cpu_ns(&pids[i], 1) - before[i];
		if (used > most) {
			most = used;
			pid = pids[i];
		}
	}
	expect(pid, "no interrupt came");
	thread_name(pid, name, sizeof(name));
	expect(sscanf(name, "irq/%d-", &irq) == 1, "'%s' names no interrupt", name);
	if (irq_set_cpu(irq, cpus[0]))
		test_skip("interrupt %d cannot be moved", irq);

	g_make("irq");
	must(g_write("", "cgroup.subtree_control", "+cpuset"));
	must(g_write("irq", "cpuset.cpus", "%d", cpus[0]));
	g_set("irq", "2000 10000");
	must(g_attach("irq", pid));
	expect(wait_last_cpu(pid, cpus[0]), "the thread is not where its interrupt is");
	check_served("irq", &pid, 1, 0, 0, MSEC(200));

	must(irq_set_cpu(irq, cpus[1]));
	expect(wait_last_cpu(pid, cpus[1]), "the thread did not follow its interrupt");
	wait_count(&noise, 10, MSEC(1000));
	usage = g_stat("irq", "usage_usec");
	expect(g_stat("irq", "nr_unserved") > 0, "nobody is told that it is not served");
	sleep_ms(50);
	expect(g_stat("irq", "usage_usec") == usage, "the group is charged for it");

	must(irq_set_cpu(irq, cpus[0]));
	expect(wait_last_cpu(pid, cpus[0]), "the thread did not come back");
	check_served("irq", &pid, 1, 0, 0, MSEC(200));
	task_finish(&noise, MSEC(10));
	check_home("irq", &pid, 1);
}

/* Threads that are bound to their CPU stay where they are, and nothing is changed. */
static void per_cpu_refused(void)
{
	pid_t pids[MAX_THREADS];
	int n = find_threads("", PF_NO_SETAFFINITY, 0, pids, MAX_THREADS), i;

	expect(n >= 4, "only %d threads are bound", n);
	g_make("a");
	g_set("a", "1000 10000");
	for (i = 0; i < n; i++)
		expect_refused(g_attach("a", pids[i]), EINVAL);
	g_rmdir("a");
}

const struct dl_group_test kthread_tests[] = {
	{ "napi_served", "kthread", "the thread of an interface shares the budget",
	  .feature_check = check_tap, .run = napi_served, .cleanup = send_home },
	{ "napi_lends", "kthread", "the thread of an interface, throttled, keeps nobody waiting",
	  .feature_check = check_tap, .run = napi_lends, .cleanup = send_home },
	{ "vhost_user_worker", "kthread", "a vhost worker is in its owner's group",
	  .feature_check = check_vhost, .run = vhost_user_worker },
	{ "vhost_kthread", "kthread", "a vhost worker that is a kernel thread is there, too",
	  .feature_check = check_vhost, .run = vhost_kthread, .cleanup = send_home },
	{ "pit_served", "kthread", "the timer thread of a virtual machine shares the budget",
	  .feature_check = check_kvm, .run = pit_served, .cleanup = send_home },
	{ "irq_served", "kthread", "threads of interrupts share the budget",
	  .feature_check = check_irq, .run = irq_served, .cleanup = send_home },
	{ "irq_leaves_cpuset", "kthread", "the thread of an interrupt that is moved away",
	  .feature_check = check_irq, .needs = NEED_CPUS2 | NEED_CPUSET,
	  .run = irq_leaves_cpuset, .cleanup = send_home },
	{ "per_cpu_refused", "kthread", "EINVAL for threads that are bound to a CPU",
	  .run = per_cpu_refused },
	{ }
};
