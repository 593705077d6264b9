// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the scheduler really gave, from its tracepoints: sched_switch tells when
 * somebody ran, sched_stat_runtime how much he was charged (interrupts left
 * out), sched_dl_group_replenish and sched_dl_group_throttle what the group's
 * servers did; the other events of groups are checked against the rest. Read in
 * binary: text has microseconds only.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dl_group_test.h"

#define BUFFER_KB	8192

#define NO_CPU		(-1)
#define ALL_CPUS	(-2)

enum event_type {
	EV_SWITCH, EV_RUNTIME, EV_REPLENISH, EV_THROTTLE,
	EV_START, EV_STOP, EV_CHARGE, EV_ADMISSION,
	EV_WAKING, EV_WAKEUP,
	NR_EVENTS,
	NR_SUPPLY = EV_START,	/* these tell of the supply */
	NR_GROUP = EV_WAKING	/* and these of groups */
};

static const char *const event_names[NR_EVENTS] = {
	"sched_switch", "sched_stat_runtime",
	"sched_dl_group_replenish", "sched_dl_group_throttle",
	"sched_dl_group_start", "sched_dl_group_stop",
	"sched_dl_group_charge", "sched_dl_group_admission",
	"sched_waking", "sched_wakeup",
};

struct field {
	unsigned int offset, size;
};

struct event {
	u64 ts;
	enum event_type type;
	pid_t prev, pid;	/* switch: from, to; runtime, wakeup: whose */
	u64 value;		/* runtime: ns; of groups: cgroup */
	int cpu;		/* of groups: whose server; switch: where; wakeup: to where */
	u64 delta;		/* charge: ns */
	struct decision decision;
};

static struct {
	unsigned int id[NR_EVENTS];
	struct field prev, next, pid, runtime, group[NR_EVENTS];
	struct field cpus[NR_EVENTS], delta, rule, asked, free, result;
	struct field woken[NR_EVENTS];
	struct event *events;
	size_t nr, size;
	int cpu;		/* whose events have been read */
	int buffer;		/* whose are being read */
} trace = { .cpu = NO_CPU };

static const char *tracing_dir(void)
{
	static const char *const dirs[] = {
		"/sys/kernel/tracing", "/sys/kernel/debug/tracing"
	};
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/instances", dirs[i]);
		if (!access(path, W_OK))
			return dirs[i];
	}
	return NULL;
}

static const char *instance(const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/instances/" TOP_NAME "%s%s", tracing_dir() ?: "",
		 *file ? "/" : "", file);
	return path;
}

static const char *event_file(int type, const char *file)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/events/sched/%s/%s", tracing_dir() ?: "",
		 event_names[type], file);
	return path;
}

const char *trace_check(bool any_kernel)
{
	int i;

	if (!tracing_dir())
		return "no tracefs: needs CONFIG_FTRACE";
	for (i = 0; i < (any_kernel ? EV_REPLENISH : NR_SUPPLY); i++)
		if (access(event_file(i, "format"), R_OK))
			return i < EV_REPLENISH ?
			       "no scheduler tracepoints: needs CONFIG_TRACEPOINTS" :
			       "no sched_dl_group tracepoints: needs CONFIG_DL_GROUP_SCHED";
	return NULL;
}

static bool find_field(const char *format, const char *name, struct field *f)
{
	const char *line;
	char type[128], want[64];
	unsigned int offset, size;

	snprintf(want, sizeof(want), " %s", name);
	for (line = format; (line = strstr(line, "field:")); line += 6) {
		size_t len, n = strlen(want);

		if (sscanf(line, "field:%127[^;]; offset:%u; size:%u;", type, &offset, &size) != 3)
			continue;
		len = strlen(type);
		if (len < n || strcmp(type + len - n, want))
			continue;
		f->offset = offset;
		f->size = size;
		return true;
	}
	return false;
}

static void load_format(int type)
{
	char format[8192];
	const char *id;
	bool ok = true;

	file_read(event_file(type, "format"), format, sizeof(format));
	id = strstr(format, "\nID: ");
	expect(id, "%s has no ID", event_names[type]);
	trace.id[type] = strtoul(id + 5, NULL, 10);
	switch (type) {
	case EV_SWITCH:
		ok = find_field(format, "prev_pid", &trace.prev) &&
		     find_field(format, "next_pid", &trace.next);
		break;
	case EV_RUNTIME:
		ok = find_field(format, "pid", &trace.pid) &&
		     find_field(format, "runtime", &trace.runtime);
		break;
	case EV_WAKING:
	case EV_WAKEUP:
		ok = find_field(format, "pid", &trace.woken[type]) &&
		     find_field(format, "target_cpu", &trace.cpus[type]);
		break;
	case EV_START:
	case EV_STOP:
		ok = find_field(format, "cgroup", &trace.group[type]) &&
		     find_field(format, "cpu", &trace.cpus[type]);
		break;
	case EV_CHARGE:
		ok = find_field(format, "cgroup", &trace.group[type]) &&
		     find_field(format, "cpu", &trace.cpus[type]) &&
		     find_field(format, "delta", &trace.delta);
		break;
	case EV_ADMISSION:
		ok = find_field(format, "cgroup", &trace.group[type]) &&
		     find_field(format, "cpu", &trace.cpus[type]) &&
		     find_field(format, "rule", &trace.rule) &&
		     find_field(format, "asked", &trace.asked) &&
		     find_field(format, "free", &trace.free) &&
		     find_field(format, "result", &trace.result);
		break;
	default:
		ok = find_field(format, "cgroup", &trace.group[type]) ||
		     find_field(format, "cgroup_id", &trace.group[type]) ||
		     find_field(format, "cgrp_id", &trace.group[type]);
	}
	expect(ok, "%s lacks a field:\n%s", event_names[type], format);
}

static void start(int from, int to)
{
	char file[128];
	int i;

	expect(!mkdir(instance(""), 0755) || errno == EEXIST, "mkdir %s: %s", instance(""),
	       strerror(errno));
	must(file_write(instance("tracing_on"), "0"));
	must(file_write(instance("trace_clock"), "mono"));
	must(file_write(instance("buffer_size_kb"), "%d", BUFFER_KB));
	for (i = from; i < to; i++) {
		/* a kernel without reservations has two of the four */
		if (access(event_file(i, "format"), R_OK))
			continue;
		load_format(i);
		snprintf(file, sizeof(file), "events/sched/%s/enable", event_names[i]);
		must(file_write(instance(file), "1"));
	}
	must(file_write(instance("tracing_on"), "1"));
}

void trace_start(void)
{
	start(0, NR_SUPPLY);
}

void trace_start_servers(void)
{
	start(NR_SUPPLY, NR_GROUP);
}

void trace_start_wakeups(void)
{
	start(EV_SWITCH, EV_SWITCH + 1);
	start(NR_GROUP, NR_EVENTS);
}

void trace_stop(void)
{
	must(file_write(instance("tracing_on"), "0"));
	trace.cpu = NO_CPU;
}

#define PROBE	TOP_NAME "/value"

static const char *probes(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/kprobe_events", tracing_dir() ?: "");
	return path;
}

/* What a test of trace_kernel_int() or trace_functions() needs. */
const char *trace_check_functions(void)
{
	if (!tracing_dir())
		return "no tracefs: needs CONFIG_FTRACE";
	if (access(probes(), W_OK))
		return "no probes: needs CONFIG_KPROBE_EVENTS";
	return NULL;
}

void trace_remove_probe(void)
{
	if (!tracing_dir() || access(probes(), W_OK))
		return;
	file_write(instance("events/enable"), "0");
	file_write(probes(), "-:" PROBE);
}

/* A variable of the kernel's, as a probe sees it whenever somebody forks. */
int trace_kernel_int(const char *symbol)
{
	char buf[8192], *at;
	pid_t pid;
	int value;

	start(0, 0);
	must(file_write(probes(), "p:" PROBE " kernel_clone value=@%s:s32", symbol));
	must(file_write(instance("events/" PROBE "/enable"), "1"));
	pid = fork_child();
	if (!pid)
		_exit(0);
	wait_exit(pid);
	trace_stop();
	file_read(instance("trace"), buf, sizeof(buf));
	trace_remove_probe();
	at = strstr(buf, " value=");
	expect(at, "forks are not seen:\n%s", buf);
	if (sscanf(at, " value=%d", &value) != 1)
		test_skip("no %s: needs CONFIG_KALLSYMS_ALL", symbol);
	return value;
}

/* Calls of functions by a pattern of their names, from now on. */
void trace_start_functions(const char *pattern)
{
	start(0, 0);
	trace_stop();
	if (access(instance("set_ftrace_filter"), W_OK))
		test_skip("functions are not traced: needs CONFIG_DYNAMIC_FTRACE");
	must(file_write(instance("set_ftrace_filter"), "%s", pattern));
	must(file_write(instance("current_tracer"), "function"));
	must(file_write(instance("trace"), "0"));
	must(file_write(instance("tracing_on"), "1"));
}

/* How many; and a line about the first one. */
u64 trace_functions(char *first, size_t size)
{
	char buf[8192], *line, *save;
	u64 nr = 0;

	trace_stop();
	file_read(instance("trace"), buf, sizeof(buf));
	line = strstr(buf, "entries-in-buffer/entries-written: ");
	expect(line && sscanf(line, "%*[^:]: %*u/%llu", &nr) == 1, "the trace begins with '%s'",
	       buf);
	*first = '\0';
	for (line = strtok_r(buf, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (*line != '#') {
			snprintf(first, size, "%s", line);
			break;
		}
	must(file_write(instance("current_tracer"), "nop"));
	return nr;
}

/* Events keep an instance alive, so they go first. */
void trace_remove(void)
{
	u64 end = now_ns() + MSEC(2000);

	if (!tracing_dir() || access(instance(""), F_OK))
		return;
	file_write(instance("tracing_on"), "0");
	file_write(instance("events/enable"), "0");
	while (rmdir(instance("")) && errno == EBUSY && now_ns() < end)
		sleep_ns(NSEC_PER_MSEC);
}

static u64 get(const unsigned char *record, struct field f)
{
	u64 value = 0;

	memcpy(&value, record + f.offset, f.size < sizeof(value) ? f.size : sizeof(value));
	return value;
}

static void add_event(u64 ts, const unsigned char *record)
{
	unsigned short id;
	struct event *e;
	int type;

	memcpy(&id, record, sizeof(id));
	for (type = 0; type < NR_EVENTS; type++)
		if (trace.id[type] == id)
			break;
	if (type == NR_EVENTS)
		return;
	if (trace.nr == trace.size) {
		trace.size = trace.size ? 2 * trace.size : 65536;
		trace.events = realloc(trace.events, trace.size * sizeof(*trace.events));
		expect(trace.events, "no memory for the trace");
	}
	e = &trace.events[trace.nr++];
	*e = (struct event){ .ts = ts, .type = type };
	switch (type) {
	case EV_SWITCH:
		e->prev = get(record, trace.prev);
		e->pid = get(record, trace.next);
		e->cpu = trace.buffer;
		break;
	case EV_RUNTIME:
		e->pid = get(record, trace.pid);
		e->value = get(record, trace.runtime);
		break;
	case EV_WAKING:
	case EV_WAKEUP:
		e->pid = get(record, trace.woken[type]);
		e->cpu = get(record, trace.cpus[type]);
		break;
	case EV_START:
	case EV_STOP:
		e->value = get(record, trace.group[type]);
		e->cpu = get(record, trace.cpus[type]);
		break;
	case EV_CHARGE:
		e->value = get(record, trace.group[type]);
		e->cpu = get(record, trace.cpus[type]);
		e->delta = get(record, trace.delta);
		break;
	case EV_ADMISSION:
		e->value = get(record, trace.group[type]);
		e->decision = (struct decision){
			.ts	= ts,
			.cpu	= (int)get(record, trace.cpus[type]),
			.rule	= (int)get(record, trace.rule),
			.asked	= get(record, trace.asked),
			.free	= get(record, trace.free),
			.result	= (int)get(record, trace.result),
		};
		break;
	default:
		e->value = get(record, trace.group[type]);
	}
}

/* A page of the ring buffer, see "Ring buffer" in include/linux/ring_buffer.h. */
static void parse_page(const unsigned char *page, size_t len)
{
	const unsigned char *at, *end;
	u64 ts, commit;

	memcpy(&ts, page, 8);
	memcpy(&commit, page + 8, sizeof(long));
	expect(!(commit & (1UL << 31)), "events were lost, the buffer of %d kB is too small",
	       BUFFER_KB);
	commit &= 0xfffff;
	at = page + 8 + sizeof(long);
	end = at + commit;
	expect(end <= page + len, "a page of the trace is cut off");
	while (at < end) {
		unsigned int head, type, delta, arg = 0;

		memcpy(&head, at, 4);
		at += 4;
		type = head & 31;
		delta = head >> 5;
		if (type == 0 || type >= 29)
			memcpy(&arg, at, 4);
		switch (type) {
		case 29:		/* padding */
			if (!delta)
				return;
			ts += delta;
			at += arg;
			break;
		case 30:		/* a long time since the last */
			ts += ((u64)arg << 27) + delta;
			at += 4;
			break;
		case 31:		/* the time itself, 59 bits of it */
			ts = (ts & (0x1fULL << 59)) | ((u64)arg << 27) | delta;
			at += 4;
			break;
		case 0:			/* long data: its length, then it */
			ts += delta;
			add_event(ts, at + 4);
			at += arg;
			break;
		default:
			ts += delta;
			add_event(ts, at);
			at += 4 * type;
		}
	}
}

static void read_buffer(int cpu)
{
	unsigned char page[65536];
	char file[64];
	ssize_t len;
	int fd;

	trace.buffer = cpu;
	snprintf(file, sizeof(file), "per_cpu/cpu%d/trace_pipe_raw", cpu);
	fd = open(instance(file), O_RDONLY | O_NONBLOCK);
	expect(fd >= 0, "open %s: %s", instance(file), strerror(errno));
	while ((len = read(fd, page, getpagesize())) > 0)
		parse_page(page, len);
	expect(!len || errno == EAGAIN, "read %s: %s", instance(file), strerror(errno));
	close(fd);
}

static void load_events(int cpu)
{
	if (trace.cpu == cpu)
		return;
	trace.nr = 0;
	trace.cpu = cpu;
	read_buffer(cpu);
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	return x->ts < y->ts ? -1 : x->ts > y->ts;
}

/* An event of one CPU's server is in the buffer of whoever held its runqueue. */
static void load_all_events(void)
{
	int i;

	if (trace.cpu == ALL_CPUS)
		return;
	trace.nr = 0;
	trace.cpu = ALL_CPUS;
	for (i = 0; i < nr_cpus; i++)
		read_buffer(cpus[i]);
	qsort(trace.events, trace.nr, sizeof(*trace.events), by_time);
}

static bool among(pid_t pid, const pid_t *pids, int nr)
{
	while (nr--)
		if (pids[nr] == pid)
			return true;
	return false;
}

/* The group has the CPU, without a break. */
struct run {
	u64 in, out;
	u64 before;			/* charged until then */
};

static struct run *add_run(struct run **runs, size_t *nr)
{
	/* a power of two: it is full */
	if (!(*nr & (*nr - 1))) {
		*runs = realloc(*runs, (*nr ? 2 * *nr : 1) * sizeof(**runs));
		expect(*runs, "no memory for what ran");
	}
	return &(*runs)[(*nr)++];
}

/*
 * All windows that matter: the least is in one that begins when the group loses
 * the CPU and ends when it has it again, the most in one the other way round.
 */
static void check_windows(struct supply *s, const struct run *runs, size_t nr)
{
	size_t i, j;

	s->max_missing = 0;
	s->max_beyond = 0;
	/* the last one may not be over */
	for (i = 0; i + 1 < nr; i++)
		for (j = i + 1; j < nr; j++) {
			u64 got = runs[j].before - runs[i + 1].before;
			u64 due = supply_bound(s->runtime, s->period, runs[j].in - runs[i].out);
			u64 most = window_bound(s->runtime, s->period,
						runs[j - 1].out - runs[i].in);

			if (due > got && due - got > s->max_missing)
				s->max_missing = due - got;
			got = runs[j].before - runs[i].before;
			if (got > most && got - most > s->max_beyond)
				s->max_beyond = got - most;
		}
}

/*
 * The budgets handed out are counted by the clock: they come at the deadlines,
 * one a period. So a replenishment too many is an overrun.
 */
void trace_supply(struct supply *s)
{
	u64 received = 0, charged = 0, out = 0, throttled = 0, late = USEC(200);
	struct run *runs = NULL;
	bool running = false;
	size_t i, nr_runs = 0;

	load_events(s->cpu);
	s->first = 0;
	s->last = 0;
	s->nr_replenish = 0;
	s->nr_throttle = 0;
	s->received = 0;
	s->max_gap = 0;
	s->max_overrun = 0;
	s->max_late_switch = 0;
	for (i = 0; i < trace.nr; i++) {
		const struct event *e = &trace.events[i];
		u64 budgets;

		switch (e->type) {
		case EV_SWITCH:
			if (among(e->prev, s->pids, s->nr_pids)) {
				out = e->ts;
				if (running)
					runs[nr_runs - 1].out = e->ts;
				running = false;
				if (throttled && s->first &&
				    e->ts - throttled > s->max_late_switch)
					s->max_late_switch = e->ts - throttled;
				throttled = 0;
			}
			if (among(e->pid, s->pids, s->nr_pids)) {
				if (out && s->first && e->ts - out > s->max_gap)
					s->max_gap = e->ts - out;
				running = true;
				*add_run(&runs, &nr_runs) =
					(struct run){ .in = e->ts, .before = charged };
			}
			break;
		case EV_RUNTIME:
			if (!among(e->pid, s->pids, s->nr_pids))
				break;
			charged += e->value;
			if (!s->first)
				break;
			received += e->value;
			budgets = ((e->ts - s->first + late) / s->period + 1) * s->runtime;
			if (received > budgets && received - budgets > s->max_overrun)
				s->max_overrun = received - budgets;
			break;
		case EV_REPLENISH:
			if (e->value != s->id)
				break;
			if (s->first) {
				s->nr_replenish++;
				s->last = e->ts;
				s->received = received;
			} else {
				s->first = e->ts;
				received = 0;
			}
			break;
		case EV_THROTTLE:
			if (e->value != s->id)
				break;
			if (running)
				throttled = e->ts;
			s->nr_throttle += !!s->first;
			break;
		default:
			break;
		}
	}
	check_windows(s, runs, nr_runs);
	free(runs);
}

/* What the servers of a group did on one CPU. */
void trace_server(u64 id, int cpu, struct server_events *s)
{
	bool started = false;
	size_t i;

	load_all_events();
	*s = (struct server_events){};
	for (i = 0; i < trace.nr; i++) {
		const struct event *e = &trace.events[i];

		if (e->value != id || e->cpu != cpu)
			continue;
		switch (e->type) {
		case EV_START:
			expect(!started, "CPU %d: started, and not stopped since", cpu);
			started = true;
			s->nr_start++;
			break;
		case EV_STOP:
			expect(started, "CPU %d: stopped, and not started before", cpu);
			started = false;
			s->nr_stop++;
			break;
		case EV_CHARGE:
			expect(started, "CPU %d: charged, and not started before", cpu);
			s->charged += e->delta;
			break;
		default:
			break;
		}
	}
}

/* The last decision about a group; without a time if there is none. */
void trace_decision(u64 id, struct decision *d)
{
	size_t i;

	*d = (struct decision){};
	load_all_events();
	for (i = 0; i < trace.nr; i++) {
		const struct event *e = &trace.events[i];

		if (e->type == EV_ADMISSION && e->value == id)
			*d = e->decision;
	}
}

/* The first wakeup of a task from then on, and whom @cpu ran at that time. */
void trace_wakeup(pid_t pid, u64 from, int cpu, struct wakeup *w)
{
	u64 waking = 0;
	size_t i;

	*w = (struct wakeup){ .cpu = NO_CPU };
	load_all_events();
	for (i = 0; i < trace.nr; i++) {
		const struct event *e = &trace.events[i];

		if (e->type == EV_SWITCH && e->cpu == cpu && !waking)
			w->beside = e->pid;
		if (e->pid != pid || e->ts < from)
			continue;
		if (e->type == EV_WAKING && !waking) {
			waking = e->ts;
		} else if (e->type == EV_WAKEUP && waking) {
			w->cpu = e->cpu;
		} else if (e->type == EV_SWITCH && waking) {
			w->latency = e->ts - waking;
			return;
		}
	}
	fail("task %d is not seen to wake and run", pid);
}

/* Time on the CPU between two times, interrupts and all. */
u64 trace_running(int cpu, const pid_t *pids, int nr, u64 from, u64 to)
{
	u64 sum = 0, in = 0;
	size_t i;

	load_events(cpu);
	for (i = 0; i < trace.nr && trace.events[i].ts < to; i++) {
		const struct event *e = &trace.events[i];

		if (e->type != EV_SWITCH)
			continue;
		if (in && among(e->prev, pids, nr)) {
			if (e->ts > from)
				sum += e->ts - (in > from ? in : from);
			in = 0;
		}
		if (among(e->pid, pids, nr))
			in = e->ts;
	}
	if (in)
		sum += to - (in > from ? in : from);
	return sum;
}

/* The longest time in which none of the tasks ran. */
u64 trace_gap(int cpu, const pid_t *pids, int nr, u64 from, u64 to)
{
	u64 out = from, max = 0;
	size_t i;

	load_events(cpu);
	for (i = 0; i < trace.nr; i++) {
		const struct event *e = &trace.events[i];

		if (e->type != EV_SWITCH || e->ts < from || e->ts >= to)
			continue;
		if (among(e->prev, pids, nr))
			out = e->ts;
		if (among(e->pid, pids, nr)) {
			if (out && e->ts - out > max)
				max = e->ts - out;
			out = 0;
		}
	}
	return out && to - out > max ? to - out : max;
}
