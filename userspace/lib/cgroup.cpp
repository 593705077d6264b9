// SPDX-License-Identifier: GPL-2.0-only
#include <dlgroup/cgroup.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <system_error>

#include <fmt/format.h>
#include <libcgroup.h>
#include <linux/magic.h>
#include <mntent.h>
#include <sys/vfs.h>

namespace dlgroup {

namespace {

bool is_cgroup2(const char *path)
{
	struct statfs fs {};
	return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

// libcgroup keeps one table of mounts for the process.
Result<void> init_libcgroup()
{
	static const int error = cgroup_init();
	if (error)
		return fail(Status::failed, "libcgroup", cgroup_strerror(error));
	return {};
}

tl::unexpected<Error> libcgroup_error(const std::string &object, int error)
{
	if (error == ECGOTHER)
		return system_error(object, cgroup_get_last_errno());
	auto failed = fail(Status::failed, object, cgroup_strerror(error));
	if (error == ECGROUPNOTALLOWED)
		failed.value().sys_errno = EPERM;
	return failed;
}

using Handle = std::unique_ptr<struct cgroup, void (*)(struct cgroup *)>;

Result<void> check_mount(const Roots &roots)
{
	if (!roots.running || !is_cgroup2(roots.cgroup.c_str()))
		return fail(Status::failed, roots.cgroup.string(),
			    "not a cgroup2 mount: no group can be made, removed or filled");
	return {};
}

// The group as libcgroup names it: below its own mount, in the cpu controller.
Result<Handle> handle(const Roots &roots, const std::string &group)
{
	if (auto mount = check_mount(roots); !mount)
		return tl::unexpected(mount.error());
	if (auto ready = init_libcgroup(); !ready)
		return tl::unexpected(ready.error());
	char *mount = nullptr;
	if (int error = cgroup_get_subsys_mount_point("cpu", &mount))
		return libcgroup_error("cpu controller", error);
	std::filesystem::path base(mount);
	free(mount);
	auto inside = directory_of(roots, group).lexically_relative(base).string();
	if (!is_cgroup2(base.c_str()) || inside.empty() || inside.starts_with(".."))
		return fail(Status::failed, roots.cgroup.string(),
			    "not where libcgroup finds the cpu controller, " + base.string());
	Handle made(cgroup_new_cgroup(inside.c_str()),
		    [](struct cgroup *old) { cgroup_free(&old); });
	if (!made || !cgroup_add_controller(made.get(), "cpu"))
		return fail(Status::failed, group, "libcgroup: out of memory");
	return made;
}

std::vector<pid_t> read_pids(const Roots &roots, const std::string &group, const char *file)
{
	std::vector<pid_t> pids;
	auto text = read_file(directory_of(roots, group) / file);
	if (!text)
		return pids;
	for (const auto &word : words(*text)) {
		pid_t pid{};
		auto end = word.data() + word.size();
		if (std::from_chars(word.data(), end, pid).ptr == end && pid > 0)
			pids.push_back(pid);
	}
	std::sort(pids.begin(), pids.end());
	return pids;
}

void read_group(const Roots &roots, const std::string &path, std::optional<std::size_t> parent,
		const CpuSet &inherited, Tree &tree)
{
	auto dir = Dir::open(directory_of(roots, path));
	if (!dir)
		return; // removed meanwhile
	Group group;
	group.path = path;
	group.parent = parent;
	group.cpus = inherited;
	if (auto text = dir->read("cpu.rt.max")) {
		group.has_file = true;
		if (auto value = parse_rt_max(*text))
			group.rt_max = *value;
	}
	group.has_cpu_files = group.has_file || dir->has("cpu.weight") || dir->has("cpu.idle");
	if (auto text = dir->read("cpu.rt.fair"))
		group.serves_fair = trimmed(*text) == "1";
	if (auto text = dir->read("cpuset.cpus.partition")) {
		// "root invalid (...)" is none.
		auto word = trimmed(*text);
		group.partition = word == "root"       ? Group::Partition::root
				  : word == "isolated" ? Group::Partition::isolated
						       : Group::Partition::none;
	}
	if (auto text = dir->read("cpuset.cpus.effective")) {
		if (auto cpus = parse_cpus(*text); cpus && !cpus->empty())
			group.cpus = *cpus;
		else if (group.partition != Group::Partition::none)
			group.cpus.clear(); // it has passed all of them on
	}
	bool by_cpu = false;
	auto effective = dir->read("cpu.rt.max.effective.local");
	if (!effective && group.rt_max.has_number() && group.rt_max.runtime.count())
		group.cpus_served = group.cpus; // as far as one can tell
	for (const auto &one : parse_effective(effective.value_or(""))) {
		// The first line is the least of all; lines of CPUs tell more.
		if (!one.cpus.empty() && !by_cpu)
			group.cpus_served.clear();
		by_cpu = by_cpu || !one.cpus.empty();
		if (one.value.runtime.count())
			group.cpus_served.merge(CpuSet(one.cpus.empty() ? group.cpus : one.cpus));
	}
	if (auto text = dir->read("cpuset.cpus"))
		if (auto cpus = parse_cpus(*text))
			group.cpus_asked = *cpus;
	group.controllers = trimmed(dir->read("cgroup.controllers").value_or(""));
	group.subtree_control = trimmed(dir->read("cgroup.subtree_control").value_or(""));

	auto index = tree.groups.size();
	auto cpus = group.cpus;
	tree.groups.push_back(std::move(group));
	for (const auto &name : directories_in(dir->path()))
		read_group(roots, path == "/" ? "/" + name : path + "/" + name, index, cpus,
			   tree);
}

} // namespace

Result<std::filesystem::path> find_cgroup_mount(const Roots &roots)
{
	char *found = nullptr;
	if (init_libcgroup() && cgroup_get_subsys_mount_point("cpu", &found) == 0) {
		std::filesystem::path mount(found);
		free(found);
		if (is_cgroup2(mount.c_str()))
			return mount;
	}
	// libcgroup finds a mount only by a controller. Where cgroup v1 holds them
	// all, the cgroup2 tree has none; it is still read, to say what is wrong.
	FILE *mounts = setmntent((roots.proc / "self/mounts").c_str(), "re");
	if (!mounts)
		return system_error("mounts", errno);
	std::filesystem::path mount;
	while (auto *entry = getmntent(mounts))
		if (mount.empty() && std::string_view(entry->mnt_type) == "cgroup2")
			mount = entry->mnt_dir;
	endmntent(mounts);
	if (mount.empty())
		return fail(Status::unsupported, "cgroup2",
			    "not mounted (mount -t cgroup2 none /sys/fs/cgroup)");
	return mount;
}

std::optional<std::size_t> Tree::find(const std::string &path) const
{
	for (std::size_t i = 0; i < groups.size(); i++)
		if (groups[i].path == path)
			return i;
	return std::nullopt;
}

bool Tree::is_inside(std::size_t group, std::size_t ancestor) const
{
	for (std::optional<std::size_t> at = group; at; at = groups[*at].parent)
		if (*at == ancestor)
			return true;
	return false;
}

std::optional<std::size_t> Tree::source_of(std::size_t group) const
{
	for (std::optional<std::size_t> at = group; at; at = groups[*at].parent)
		if (groups[*at].rt_max.has_number())
			return at;
	return std::nullopt;
}

std::optional<std::size_t> Tree::numbered_ancestor(std::size_t group) const
{
	auto parent = groups[group].parent;
	return parent ? source_of(*parent) : std::nullopt;
}

std::vector<std::size_t> Tree::carved_from(std::size_t group) const
{
	std::vector<std::size_t> found;
	for (auto i = group + 1; i < groups.size(); i++) {
		if (!groups[i].rt_max.has_number() || !is_inside(i, group))
			continue;
		// Its nearest number above must not be another one below `group`.
		auto above = numbered_ancestor(i);
		if (!above || *above == group || !is_inside(*above, group))
			found.push_back(i);
	}
	return found;
}

std::vector<std::size_t> Tree::from_root_pool() const
{
	std::vector<std::size_t> found;
	for (std::size_t i = 0; i < groups.size(); i++)
		if (groups[i].rt_max.has_number() && !numbered_ancestor(i))
			found.push_back(i);
	return found;
}

std::vector<CpuSet> Tree::granted() const
{
	std::vector<CpuSet> all(groups.size());
	for (auto i = groups.size(); i-- > 0;) {
		if (!groups[i].rt_max.has_number())
			continue;
		all[i].insert(groups[i].cpus_served.begin(), groups[i].cpus_served.end());
		if (auto above = numbered_ancestor(i))
			all[*above].insert(all[i].begin(), all[i].end());
	}
	return all;
}

std::vector<std::size_t> Tree::sharing(std::size_t group) const
{
	std::vector<std::size_t> found;
	for (auto i = group; i < groups.size(); i++) {
		if (!is_inside(i, group))
			continue;
		bool own = false;
		for (std::optional<std::size_t> at = i; at && *at != group;
		     at = groups[*at].parent)
			own = own || groups[*at].rt_max.has_number();
		if (!own)
			found.push_back(i);
	}
	return found;
}

namespace {

// As the kernel makes them of cpusets: what the root has left is one, each root
// partition is one, and all that are isolated are one, too. None if that does not
// add up: the tree is not seen from its root, or cpusets are not on it.
std::vector<CpuSet> root_domains(const Roots &roots, const Tree &tree, const CpuSet &online)
{
	CpuSet isolated, seen;
	if (auto text = read_file(roots.sys / "devices/system/cpu/isolated"))
		if (auto cpus = parse_cpus(trimmed(*text)))
			isolated = intersect(*cpus, online);
	std::vector<CpuSet> found;
	auto add = [&](const CpuSet &cpus) {
		for (auto cpu : cpus)
			if (!seen.insert(cpu).second)
				return false;
		if (!cpus.empty())
			found.push_back(cpus);
		return true;
	};
	bool good = Dir::open(roots.cgroup).map([](const Dir &dir) {
		return dir.has("cpuset.cpus.effective");
	}).value_or(false);
	for (const auto &group : tree.groups) {
		auto cpus = group.cpus;
		if (group.partition == Group::Partition::isolated)
			isolated.insert(cpus.begin(), cpus.end());
		else if (group.partition == Group::Partition::root)
			good = good && add(cpus);
		else if (!group.parent) {
			for (auto cpu : isolated)
				cpus.erase(cpu);
			good = good && add(cpus);
		}
	}
	return good && add(isolated) && seen == online ? found : std::vector<CpuSet>{};
}

} // namespace

Result<Tree> read_tree(const Roots &roots)
{
	Tree tree;
	CpuSet online;
	if (auto cpus = online_cpus(roots))
		online = *cpus;
	read_group(roots, "/", std::nullopt, online, tree);
	if (tree.groups.empty())
		return fail(Status::failed, roots.cgroup.string(), "cannot be read");
	tree.root_domains = root_domains(roots, tree, online);
	return tree;
}

std::vector<Effective> parse_effective(const std::string &text)
{
	std::vector<Effective> all;
	for (const auto &line : lines(text)) {
		auto fields = words(line);
		Effective one;
		if (fields.size() == 3) {
			auto cpus = parse_cpus(fields[0]);
			if (!cpus)
				continue;
			one.cpus = *cpus;
			fields.erase(fields.begin());
		}
		if (fields.size() != 2)
			continue;
		auto value = parse_rt_max(fields[0] + " " + fields[1]);
		if (!value || !value->has_number()) // without a number it has no servers
			continue;
		one.value = *value;
		all.push_back(one);
	}
	return all;
}

std::filesystem::path directory_of(const Roots &roots, const std::string &group)
{
	return group == "/" ? roots.cgroup : roots.cgroup / group.substr(1);
}

std::string parent_of(const std::string &group)
{
	auto slash = group.rfind('/');
	return slash == 0 || slash == group.npos ? "/" : group.substr(0, slash);
}

Result<std::string> check_group_path(const std::string &path)
{
	std::string clean;
	std::size_t at = 0;
	while (at < path.size()) {
		auto end = std::min(path.find('/', at), path.size());
		auto part = path.substr(at, end - at);
		at = end + 1;
		if (part.empty() || part == ".")
			continue;
		if (part == "..")
			return bad_input(path, "'..' in the name of a cgroup");
		clean += "/" + part;
	}
	if (path.empty() || path[0] != '/')
		return bad_input(path.empty() ? "''" : path,
				 "not a cgroup: /path below the cgroup2 mount");
	if (clean.empty())
		return bad_input("/", "the root cgroup has no reservation");
	return clean;
}

std::vector<pid_t> threads_in(const Roots &roots, const std::string &group)
{
	return read_pids(roots, group, "cgroup.threads");
}

std::vector<pid_t> processes_in(const Roots &roots, const std::string &group)
{
	// A threaded cgroup does not list processes.
	auto pids = read_pids(roots, group, "cgroup.procs");
	return pids.empty() ? threads_in(roots, group) : pids;
}

Result<void> KernelGroupControl::create(const std::string &group)
{
	auto made = handle(roots_, group);
	if (!made)
		return tl::unexpected(made.error());
	if (int error = cgroup_create_cgroup(made->get(), 1))
		return libcgroup_error(group, error);
	return {};
}

Result<void> KernelGroupControl::remove(const std::string &group)
{
	auto made = handle(roots_, group);
	if (!made)
		return tl::unexpected(made.error());
	if (int error = cgroup_delete_cgroup_ext(made->get(), CGFLAG_DELETE_EMPTY_ONLY))
		return libcgroup_error(group, error);
	return {};
}

Result<void> KernelGroupControl::attach(const std::string &group, pid_t pid)
{
	if (auto mount = check_mount(roots_); !mount)
		return mount;
	auto dir = Dir::open(directory_of(roots_, group));
	if (!dir)
		return tl::unexpected(dir.error());
	// In a threaded cgroup libcgroup would move the one thread only, and it
	// refuses one for which the controller is not enabled.
	if (trimmed(dir->read("cgroup.type").value_or("domain")) == "threaded" ||
	    !(dir->has("cpu.rt.max") || dir->has("cpu.weight")))
		return dir->write("cgroup.procs", std::to_string(pid));
	auto made = handle(roots_, group);
	if (!made)
		return tl::unexpected(made.error());
	if (int error = cgroup_attach_task_pid(made->get(), pid))
		return libcgroup_error(group, error);
	return {};
}

Result<void> KernelGroupControl::attach_thread(const std::string &group, pid_t tid)
{
	return write_file(directory_of(roots_, group) / "cgroup.threads",
			  std::to_string(tid));
}

} // namespace dlgroup
